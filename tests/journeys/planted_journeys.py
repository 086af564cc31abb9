"""A made catalogue of topics whose vectors stand apart, and people who walk through them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from zlib import crc32

import numpy as np
import polars as pl

from wayline.journeys.evidence import Words
from wayline.journeys.finder import Before, FinderRules, FoundJourney, find_journeys
from wayline.journeys.keywords import Keywords, Said, find_keywords
from wayline.schema import BoolVector, FloatMatrix

DAY = 86_400_000
START = 1_600_000_000_000
TEXTS = {
    "title": pl.String,
    "description": pl.String,
    "category": pl.String,
    "tags": pl.List(pl.String),
}
TOPICS = (
    "garden lamp", "baking tin", "wool scarf", "wall clock", "tea cup", "toy train", "picture frame",
    "paper flower", "candle stick", "lunch bag",
)  # fmt: skip


def encode(texts: list[str]) -> FloatMatrix:
    """Vectors that only equal texts share: what a text encoder is, without one."""
    rows = [np.random.default_rng(crc32(text.encode())).normal(size=48) for text in texts]
    made = np.array(rows, np.float32).reshape(len(texts), 48)
    return made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-9)


def catalogue(
    titles: Sequence[str | None],
    *,
    descriptions: Sequence[str | None] | None = None,
    categories: Sequence[str | None] | None = None,
    tags: Sequence[Sequence[str]] | None = None,
) -> pl.DataFrame:
    """What a build reads of a catalogue."""
    nothing = [None] * len(titles)
    rows = {
        "title": list(titles),
        "description": list(descriptions or nothing),
        "category": list(categories or nothing),
        "tags": [list(own) for own in tags] if tags else nothing,
    }
    return pl.DataFrame(rows, schema=TEXTS)


def around(
    groups: Sequence[int], *, near: float = 0.9, dim: int = 32, seed: int = 0
) -> FloatMatrix:
    """Unit vectors, items of a group near to each other and far from others."""
    rng = np.random.default_rng(seed)
    middles = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    noise = rng.normal(size=(len(groups), dim))
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    x = near * middles[list(groups)] + np.sqrt(1 - near**2) * noise
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def usable(x: FloatMatrix) -> BoolVector:
    return np.ones(len(x), bool)


def keywords_of(
    texts: pl.DataFrame,
    groups: Sequence[int],
    said: Said | None = None,
    near: float = 0.9,
    **options: object,
) -> Keywords:
    """Find the keywords of items whose groups are known."""
    x = around(groups, near=near)
    return find_keywords(texts, x, usable(x), encode, said=said, **options)  # type: ignore[arg-type]  # blocked


def topics_world(each: int = 12, **options: object) -> Keywords:
    """Ten topics of ``each`` items; item ``i`` is of topic ``i // each`` and is called after it."""
    groups = [i // each for i in range(each * len(TOPICS))]
    titles = [
        f"{TOPICS[g]} {['small', 'large', 'old', 'new'][i % 4]}" for i, g in enumerate(groups)
    ]
    return keywords_of(catalogue(titles), groups, **options)


def find(
    keywords: Keywords,
    items: Sequence[int],
    *,
    days: Sequence[float] | None = None,
    worth: Sequence[float] | None = None,
    words: Words | None = None,
    before: Sequence[Before] = (),
    now_days: float | None = None,
    sticky: bool = True,
    rules: FinderRules | None = None,
    titles: Sequence[str] = (),
    blocked: Callable[[str], bool] | None = None,
) -> list[FoundJourney]:
    """Find the journeys of somebody who acted on these items, one a day."""
    when = list(range(len(items))) if days is None else list(days)
    ts = np.array([START + round(day * DAY) for day in when], np.int64)
    order = np.argsort(ts, kind="stable")
    values = np.ones(len(items)) if worth is None else np.array(worth)
    now = int(ts.max(initial=START)) if now_days is None else START + round(now_days * DAY)
    now = max(now, max((words or Words()).ts_ms, default=0))
    called = (
        (lambda at: [titles[i] for i in at]) if titles else (lambda at: [f"Item {i}" for i in at])
    )
    return find_journeys(
        keywords, "u", np.array(items, np.int64)[order], ts[order],
        values[order].astype(np.float32), words or Words(), now_ts_ms=now,
        rules=rules or FinderRules(), before=before, titles=called, sticky=sticky,
        blocked=blocked,
    )  # fmt: skip


def before_of(keywords: Keywords, found: Sequence[FoundJourney]) -> list[Before]:
    """What the next run knows of these."""
    return [
        Before(one.id, one.name, one.item_idx, said=[keywords.texts[k] for k in one.said])
        for one in found
    ]


def plainly(found: Sequence[FoundJourney]) -> list[tuple[str, str, list[int]]]:
    """Id, name and items of each."""
    return [(one.id, one.name, sorted(one.item_idx.tolist())) for one in found]
