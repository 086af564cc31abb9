"""Everybody's journeys in one log, for a build: in parallel, resumable, the same for a person whoever else is asked."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from wayline.journeys.evidence import Words
from wayline.journeys.finder import Before, FinderRules, FoundJourney, find_journeys
from wayline.journeys.keywords import Keywords
from wayline.journeys.phrases import plain
from wayline.journeys.ranking import JourneyRanker, diversify, features_of
from wayline.journeys.table import SCHEMA, rows_of
from wayline.schema import FloatVector, IntVector
from wayline.storage.disk import write_frame

CHUNK = 256  # people
ALONE = 1024  # people below which one process is faster than starting others


@dataclass(frozen=True, slots=True)
class PersonLog:
    """What one person did up to the build: actions oldest first, searches and boards, and the journeys found before."""

    user_key: int
    user_id: str
    item_idx: IntVector
    ts_ms: IntVector
    worth: FloatVector
    words: Words
    before: Sequence[Before]


class _Texts(Protocol):
    """A text by item position."""

    def __getitem__(self, item_idx: int, /) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Task:
    """What every chunk of a run has in common; goes to the workers once."""

    keywords: Keywords
    rules: FinderRules
    ranker: JourneyRanker
    titles: _Texts
    item_ids: _Texts
    now_ts_ms: int
    blocked: Callable[[str], bool] | None = None

    def calls(self, items: list[int]) -> list[str]:
        """Give what items are called: their titles, else their ids; nothing that must not be said."""
        sources = (self.titles, self.item_ids)
        return [next((t for s in sources if self._sayable(t := s[i])), None) or "" for i in items]

    def _sayable(self, text: str | None) -> bool:
        """Whether there is anything to say but markup, and it may be said."""
        return bool(plain(text)) and not (self.blocked is not None and self.blocked(text or ""))


def find_and_rank(task: Task, person: PersonLog) -> tuple[list[FoundJourney], list[float]]:
    """Find one person's journeys; the best first, with their scores."""
    found = find_journeys(
        task.keywords, person.user_id, person.item_idx, person.ts_ms, person.worth, person.words,
        now_ts_ms=task.now_ts_ms, rules=task.rules, before=person.before, titles=task.calls, blocked=task.blocked,
    )  # fmt: skip
    if not found:
        return [], []
    score = task.ranker.score(features_of(found, task.now_ts_ms))
    order, final = diversify(score, np.stack([one.centre for one in found]))
    return [found[q] for q in order], [float(final[q]) for q in order]


def find_everybodys_journeys(
    people: Sequence[PersonLog],
    task: Task,
    *,
    unfinished: Path,
    stamp: str,
    progress: Callable[[int, int], None],
    workers: int = 0,
) -> pl.DataFrame:
    """Find the journeys of many people.

    Parameters
    ----------
    people : sequence of PersonLog
        Ascending by ``user_key``.
    unfinished : Path
        Folder in which finished chunks wait while a run goes on; a run of the same ``stamp`` that was cut off goes on
        from there.
    stamp : str
        Says what the run depends on: the generation, the log's position, the settings.
    progress : callable
        Called with people done and people in all.
    workers : int
        Processes; 0 for one a core, and none beside this one for few people.

    Returns
    -------
    DataFrame
        Columns of ``table.SCHEMA``.
    """
    folder = unfinished / hashlib.sha256(stamp.encode()).hexdigest()[:16]
    if unfinished.exists():
        for other in unfinished.iterdir():
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    bounds = list(pairwise([*range(0, len(people), CHUNK), len(people)]))
    files = [folder / f"{lo:09d}.parquet" for lo, _ in bounds]
    waiting = [n for n, file in enumerate(files) if not file.exists()]
    done = len(people) - sum(bounds[n][1] - bounds[n][0] for n in waiting)
    progress(done, len(people))
    size = workers or (os.cpu_count() or 1)
    chunks = ([people[k] for k in range(*bounds[n])] for n in waiting)
    several = size > 1 and (workers > 1 or len(people) >= ALONE) and len(waiting) > 1
    results = (
        _spread(task, chunks, size, folder) if several else (_chunk(task, part) for part in chunks)
    )
    for n, frame in zip(waiting, results, strict=True):
        part = files[n].with_suffix(".part")
        write_frame(frame, part)
        part.replace(files[n])
        done += bounds[n][1] - bounds[n][0]
        progress(done, len(people))
    frames = [pl.read_parquet(file) for file in files]
    shutil.rmtree(folder, ignore_errors=True)
    return pl.concat(frames) if frames else pl.DataFrame(schema=SCHEMA)


def _chunk(task: Task, people: Sequence[PersonLog]) -> pl.DataFrame:
    rows = [
        row for p in people for row in rows_of(p.user_key, *find_and_rank(task, p), task.keywords)
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


_TASKS: dict[str, Task] = {}  # of this worker, by the file it came in


def _work(file: str, people: Sequence[PersonLog]) -> pl.DataFrame:
    if file not in _TASKS:
        _TASKS.clear()
        _TASKS[file] = pickle.loads(Path(file).read_bytes())
    return _chunk(_TASKS[file], people)


def _spread(
    task: Task, chunks: Iterator[list[PersonLog]], size: int, folder: Path
) -> Iterator[pl.DataFrame]:
    """Give the chunks to processes of their own; what comes back keeps their order.

    By joblib's: the standard library's would run the caller's script again in each of them.
    """
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor

    file = folder / "task.pickle"
    file.write_bytes(pickle.dumps(task))
    pool = Parallel(n_jobs=size, backend="loky", return_as="generator", inner_max_num_threads=1)
    try:
        yield from pool(delayed(_work)(str(file), part) for part in chunks)
    finally:
        get_reusable_executor().shutdown(
            wait=True
        )  # a server goes on after its build: no idle workers stay
