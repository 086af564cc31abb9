"""The side effect of a feed: what was shown is kept, a moment after the answer has gone out."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable

import numpy as np

from wayline.errors import WaylineError
from wayline.schema import IntVector
from wayline.storage.store import RequestTrace, Store

FLUSH_S = 0.1  # the promise is 200 ms
CHAINS_KEPT = 4096
BUFFER_MOST = 20_000  # answers kept when the store refuses them for long

log = logging.getLogger(__name__)


class TraceWriter:
    """Writes answered requests in the background; what is not yet written can be read back all the same."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[RequestTrace] = []
        self._chains: OrderedDict[str, list[int]] = OrderedDict()
        self._condition = threading.Condition()
        self._writing = threading.Lock()
        self._closing = False
        self._thread: threading.Thread | None = None
        self.failures = 0
        self.lost = 0

    def add(self, trace: RequestTrace) -> None:
        """Take one answer over; returns at once."""
        with self._condition:
            chain = self._chains.setdefault(trace.chain_id or trace.request_id, [])
            chain.extend(trace.item_keys.tolist())
            self._chains.move_to_end(trace.chain_id or trace.request_id)
            while len(self._chains) > CHAINS_KEPT:
                self._chains.popitem(last=False)
            self._waiting.append(trace)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
                self._thread.start()
            self._condition.notify()

    def shown(self, chain_id: str) -> IntVector:
        """Give the keys of items already shown in a chain of pages, written or not.

        Earlier pages may be another process's: what this one remembers is only a part.
        """
        with self._condition:
            known = np.array(self._chains.get(chain_id, ()), np.int64)
        return np.union1d(known, self._store.shown_items(chain_id))

    def flush(self) -> None:
        """Write everything that waits, now; when it returns nothing is on its way to the store any more."""
        with self._writing:
            self._flush()

    def flush_answered(self, request_ids: Iterable[str]) -> None:
        """Write what waits if one of these answers is among it: the actions that answer it are about to be."""
        with self._condition:
            waiting = {trace.request_id for trace in self._waiting}
        if not waiting.isdisjoint(request_ids):
            self.flush()

    def _flush(self) -> None:
        with self._condition:
            batch, self._waiting = self._waiting, []
        if not batch:
            return
        try:
            self._store.append_traces(batch)
        except WaylineError as error:  # the feed goes on; the traces are tried again
            self.failures += 1
            log.warning("Impressions could not be written, trying again: %s", error)
            with self._condition:
                self._waiting = batch + self._waiting
                over = len(self._waiting) - BUFFER_MOST
                if over > 0:
                    self.lost += over
                    self._waiting = self._waiting[over:]

    def drop_user(self, user_key: int) -> None:
        """Forget what waits of one person, and all chains in memory, which the store has too."""
        with self._condition:
            self._waiting = [t for t in self._waiting if t.user_key != user_key]
            self._chains.clear()
            for trace in self._waiting:
                chain = self._chains.setdefault(trace.chain_id or trace.request_id, [])
                chain.extend(trace.item_keys.tolist())

    def close(self) -> None:
        """Write what waits and stop."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        if self._thread is not None:
            self._thread.join()
        self.flush()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._waiting and not self._closing:
                    self._condition.wait()
                if self._closing:
                    return
                self._condition.wait(FLUSH_S)  # gather what comes meanwhile into one write
            self.flush()
