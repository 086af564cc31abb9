"""What a build or training is at, written down so that other processes can show it."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from wayline.clock import Clock, wall_clock
from wayline.errors import WaylineError
from wayline.storage.disk import replace_text

RUNNING, DONE, FAILED, CUT_OFF = "running", "done", "failed", "cut off"
FILE = "underway.json"
EVERY_S = 0.5
LINES = 200  # of its log kept

Progress = Callable[[str, float], None]


@dataclass(slots=True)
class Step:
    """One step; ``share`` is what of the whole was done when it last said so, ``ended_at`` None while it runs."""

    name: str
    began_at: int
    share: float = 0.0
    ended_at: int | None = None


@dataclass(slots=True)
class Work:
    """One build or training, as far as it is.

    ``pid`` and ``life`` name its process; ``state`` is "running", "done", "failed" or "cut off" (its process is gone).
    ``said`` is the generation it made, or its error; ``lines`` its log, the oldest first.
    """

    kind: str
    pid: int
    life: str
    began_at: int
    state: str = RUNNING
    said: str = ""
    updated_at: int = 0
    steps: list[Step] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


class Underway:
    """Writes and reads what is going on in a workspace's generations.

    Parameters
    ----------
    root : Path
        Their folder.
    """

    def __init__(self, root: Path, clock: Clock = wall_clock) -> None:
        self._path, self._clock = root / FILE, clock

    def read(self) -> Work | None:
        """Give the newest work, running or ended; None where there never was one."""
        try:
            data = json.loads(self._path.read_text("utf-8"))
            work = Work(**{**data, "steps": [Step(**step) for step in data["steps"]]})
        except (OSError, ValueError, TypeError, KeyError):
            return None
        if work.state == RUNNING and _life_of(work.pid) != work.life:
            work.state = CUT_OFF
        return work

    @contextmanager
    def writing(self, kind: str, also: Progress | None) -> Iterator[tuple[Progress, Work]]:
        """Give what a build calls with its progress; ``work.said`` may be set to what it made.

        Failing to write this down never fails the work.
        """
        work = Work(kind, os.getpid(), _life_of(os.getpid()), self._clock())
        log = _Lines(work)
        logging.getLogger("wayline").addHandler(log)
        written = -EVERY_S

        def tell(name: str, share: float) -> None:
            nonlocal written
            now = self._clock()
            if not work.steps or work.steps[-1].name != name:
                if work.steps:
                    work.steps[-1].ended_at = now
                work.steps.append(Step(name, now))
                written = -EVERY_S
            work.steps[-1].share = round(float(share), 4)
            if time.monotonic() - written >= EVERY_S:
                written = time.monotonic()
                self._write(work)
            if also is not None:
                also(name, share)

        self._write(work)
        try:
            yield tell, work
            work.state = DONE
        except BaseException as error:
            work.state = FAILED
            work.said = str(error) if isinstance(error, WaylineError) else type(error).__name__
            raise
        finally:
            logging.getLogger("wayline").removeHandler(log)
            if work.steps:
                work.steps[-1].ended_at = self._clock()
            self._write(work)

    def _write(self, work: Work) -> None:
        work.updated_at = self._clock()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(self._path, json.dumps(asdict(work), ensure_ascii=False) + "\n")
        except OSError:
            pass  # a full disk is the work's own to tell


class _Lines(logging.Handler):
    """Keeps what this process's wayline logs meanwhile."""

    def __init__(self, work: Work) -> None:
        super().__init__(logging.INFO)
        self._work = work

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        self._work.lines.append(f"{record.levelname.lower()}: {record.getMessage()}"[:500])
        del self._work.lines[:-LINES]


def _life_of(pid: int) -> str:
    """Tell one process from a later one of the same number: when it began, in the kernel's ticks; empty if it is gone.

    Asking the lock instead would take it for a moment, and refuse a build that begins just then.
    """
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19]
        )
    except OSError:
        pass
    try:  # a system without /proc
        os.kill(pid, 0)
    except OSError:
        return ""
    return "there"
