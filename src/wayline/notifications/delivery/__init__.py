"""Handing a notification over: by mail, by webhook, or into a file. Each is at least once, with one key each."""
