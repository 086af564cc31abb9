"""Torch modules of the ranker: sequence encoders, losses, the cross network and the ranker that joins them."""
