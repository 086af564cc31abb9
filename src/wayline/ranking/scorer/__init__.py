"""The trained modules at serving speed: the same numbers, shared work done once a request."""
