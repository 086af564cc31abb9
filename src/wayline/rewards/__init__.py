"""Query Reward: what people did with earlier feeds decides which interest is tried next (Pinterest, 2022)."""
