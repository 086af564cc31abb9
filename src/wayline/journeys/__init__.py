"""What somebody is on, in words that one can say to them."""
