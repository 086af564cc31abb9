"""Run work with a time limit, in threads that nobody waits for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class TooSlowError(Exception):
    """The work took longer than its limit, or all threads still hang in earlier work."""


class _Task:
    def __init__(self, work: Callable[[], Any]) -> None:
        self.work, self.done = work, threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None
        self.abandoned = False


class Deadline:
    """A few threads that work for callers who wait only so long.

    Work that hangs keeps its thread, and once all of them hang every caller is told at once: nothing piles up behind.
    Threads are daemons, so that a hanging one does not keep the process from ending.

    Parameters
    ----------
    limit_ms : float
    workers : int
    """

    def __init__(self, limit_ms: float, workers: int) -> None:
        self._limit_s = limit_ms / 1e3
        self._workers = workers
        self._tasks: queue.SimpleQueue[_Task] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._started = 0
        self._hanging = 0

    def run(self, work: Callable[[], T]) -> T:
        """Give what the work gives, or raise what it raises.

        Raises
        ------
        TooSlowError
            If that takes too long.
        """
        with self._lock:
            if self._hanging >= self._workers:
                raise TooSlowError("earlier work still hangs")
            if self._started < self._workers:
                self._started += 1
                threading.Thread(target=self._serve, name="wayline-ranker", daemon=True).start()
        task = _Task(work)
        self._tasks.put(task)
        if not task.done.wait(self._limit_s):
            with self._lock:
                if not task.done.is_set():
                    task.abandoned = True
                    self._hanging += 1
                    raise TooSlowError(f"no answer within {self._limit_s * 1e3:.0f} ms")
        if task.error is not None:
            raise task.error
        result: T = task.result
        return result

    def _serve(self) -> None:
        while True:
            task = self._tasks.get()
            if not task.abandoned:
                try:
                    task.result = task.work()
                except BaseException as error:  # handed to whoever waits
                    task.error = error
            with self._lock:
                task.done.set()
                if task.abandoned:
                    self._hanging -= 1
