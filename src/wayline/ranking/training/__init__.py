"""Training a ranker: batches, the loss, the loop, and the guard that decides whether it serves."""
