"""Some hundred made people, and a run over all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from planted_journeys import DAY, START, topics_world
from wayline.config import JourneysConfig
from wayline.journeys.building import MadeJourneys, make_journeys
from wayline.journeys.everybody import PersonLog, Task, find_everybodys_journeys
from wayline.journeys.evidence import Words
from wayline.journeys.finder import FinderRules
from wayline.journeys.people import LogRows
from wayline.journeys.ranking import JourneyRanker
from wayline.journeys.table import SCHEMA, JourneyTable

PEOPLE = 600  # three chunks
ITEMS = 120
KEYWORDS = topics_world()


def people(count: int = PEOPLE) -> list[PersonLog]:
    """People who each walk through some topics."""
    rng = np.random.default_rng(5)
    out = []
    for n in range(count):
        size = int(rng.integers(0, 25))
        items = (12 * rng.integers(10, size=size) + rng.integers(4, size=size)).astype(np.int64)
        ts = START + np.sort(rng.integers(0, 200, size)) * DAY
        worth = rng.choice([1.0, 0.2, -1.0], size, p=[0.7, 0.2, 0.1]).astype(np.float32)
        out.append(PersonLog(n + 1, f"u{n}", items, ts.astype(np.int64), worth, Words(), ()))
    return out


def task(ranker: JourneyRanker | None = None) -> Task:
    titles = [f"Item {n}" for n in range(ITEMS)]
    return Task(
        KEYWORDS, FinderRules(), ranker or JourneyRanker(), titles, titles, START + 200 * DAY
    )


def found_by(
    folder: Path,
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    workers: int = 1,
    stamp: str = "one",
    asked: Sequence[PersonLog] | None = None,
) -> pl.DataFrame:
    return find_everybodys_journeys(
        people() if asked is None else asked, task(), unfinished=folder, stamp=stamp, progress=progress,
        workers=workers,
    )  # fmt: skip


def log_rows(count: int = 40) -> LogRows:
    """The same people as columns of a log."""
    own = people(count)
    user = np.repeat([p.user_key - 1 for p in own], [len(p.item_idx) for p in own])
    columns = [
        np.concatenate([getattr(p, name) for p in own]) for name in ("item_idx", "ts_ms", "worth")
    ]
    order = np.argsort(columns[1], kind="stable")
    words = pl.DataFrame(schema={"position": pl.Int64, "query": pl.String, "board": pl.String})
    return LogRows(
        user[order].astype(np.int64), columns[0][order], columns[1][order], columns[2][order],
        np.arange(1, len(user) + 1), words,
    )  # fmt: skip


def made(folder: Path, *, before: JourneyTable | None = None, **options: object) -> MadeJourneys:
    texts = pl.DataFrame(
        {"title": [f"Item {n}" for n in range(ITEMS)], "item_id": [f"i{n}" for n in range(ITEMS)]}
    )
    known = {
        "user_ids": lambda keys: [f"u{key - 1}" for key in keys.tolist()],
        "progress": lambda _what, _share: None,
        "answers": None,
        "ranker": JourneyRanker(),
    }
    return make_journeys(
        KEYWORDS, texts, log_rows(), JourneysConfig(), now_ts_ms=START + 200 * DAY, unfinished=folder, stamp="one",
        before=before or JourneyTable(pl.DataFrame(schema=SCHEMA)), **{**known, **options},  # type: ignore[arg-type]
    )  # fmt: skip
