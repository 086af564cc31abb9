"""The embedded store: one SQLite file in write-ahead mode."""
