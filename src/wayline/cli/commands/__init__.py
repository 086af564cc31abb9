"""One command a file, each a function of the same name."""
