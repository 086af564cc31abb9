"""What pages show, as plain data made from the engine's answers: pure functions, tested without a browser."""
