"""Examples for training a ranker: requests with candidates, what each was worth asking then, and what followed."""
