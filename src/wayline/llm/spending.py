"""What a run may cost: requests and tokens, reserved before a request and settled after it."""

from __future__ import annotations

import threading

BYTES_PER_TOKEN = 3
"""Of a text, for the estimate: four in English, three in most scripts; to reserve too much is the safe side."""


def estimate_tokens(size_bytes: int) -> int:
    """Give about how many tokens a text of so many bytes has, rather too many than too few."""
    return -(-size_bytes // BYTES_PER_TOKEN)


class Spending:
    """Counts what is spent, and lets nobody begin what the rest would not cover.

    Parameters
    ----------
    max_requests, max_tokens : int
        Of the run. Neither is passed as long as no answer takes more tokens than were reserved for it.
    """

    def __init__(self, max_requests: int, max_tokens: int) -> None:
        self.max_requests = max_requests
        self.max_tokens = max_tokens
        self.requests = 0
        self.tokens = 0
        self._reserved = 0
        self._settled = threading.Condition()

    def reserve(self, tokens: int) -> bool:
        """Take one request and so many tokens; False if that is more than is left.

        Waits while others' reservations stand in the way, since most of them turn out smaller.
        """
        with self._settled:
            while self.requests < self.max_requests:
                if self.tokens + self._reserved + tokens <= self.max_tokens:
                    self.requests += 1
                    self._reserved += tokens
                    return True
                if not self._reserved:
                    return False
                self._settled.wait()
            return False

    def settle(self, reserved: int, used: int) -> None:
        """Give a reservation back for what it really took."""
        with self._settled:
            self._reserved -= reserved
            self.tokens += used
            self._settled.notify_all()
