"""Names by a language model for a whole build: optional, never twice for one question, never in a request's path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl

from wayline.config import LlmConfig
from wayline.journeys.llm_naming import Named, NamingInput, name_journeys
from wayline.journeys.llm_related import related_journeys
from wayline.journeys.names import name_key
from wayline.journeys.table import JourneyTable
from wayline.llm.cache import AnswerCache
from wayline.llm.client import LlmClient
from wayline.schema import FloatMatrix

EXAMPLES = 5  # titles a question names
CACHE = "llm.sqlite"
MOST_RELATED = 500  # journeys whose related ones are asked for, those of most people first

Embed = Callable[[Sequence[str]], FloatMatrix]


def call_journeys(
    frame: pl.DataFrame,
    before: JourneyTable,
    config: LlmConfig,
    *,
    titles: Sequence[str | None],
    blocked_terms: Sequence[str],
    embed: Embed | None,
    cache: Path,
    progress: Callable[[str, float], None],
) -> tuple[pl.DataFrame, dict[str, list[str]], dict[str, Any]]:
    """Fill ``called`` with what a model calls each journey, empty where its own name stays.

    A journey that still has the name it had keeps what it was called. Nothing is asked without ``llm.base_url``.

    Returns
    -------
    DataFrame
    dict
        Names of related journeys, by :func:`name_key`.
    dict
        What was asked and what it cost; empty if nothing could be.
    """
    kept = [
        before.called(*row) for row in frame.select("user_key", "journey_id", "name").iter_rows()
    ]
    frame = frame.with_columns(called=pl.Series(kept, dtype=pl.String))
    if not config.base_url:
        return frame, {}, {}
    with ExitStack() as stack:
        answers = stack.enter_context(AnswerCache(cache / CACHE))
        client = stack.enter_context(LlmClient(config))
        rows = [n for n, called in enumerate(kept) if not called]
        inputs = [_input(frame, n, titles) for n in rows]
        distinct = list(dict.fromkeys(inputs))
        named = name_journeys(
            distinct, client, cache=answers, blocked_terms=blocked_terms, language=config.language, embed=embed,
            on_progress=lambda done, total: progress("name journeys", done / max(total, 1)),
        )  # fmt: skip
        answer = dict(zip(distinct, named, strict=True))
        frame = _told_apart(frame, {n: answer[one] for n, one in zip(rows, inputs, strict=True)})
        common = frame.group_by("name", maintain_order=True).agg(
            pl.len(), pl.col("keywords").first()
        )
        common = common.sort("len", "name", descending=[True, False]).head(MOST_RELATED)
        related = related_journeys(
            {name: keywords for name, _, keywords in common.iter_rows()}, client, cache=answers,
            blocked_terms=blocked_terms, language=config.language, embed=embed,
        )  # fmt: skip
        usage = client.usage()
        report = {
            "requests": usage.requests,
            "tokens": usage.tokens,
            "named": sum(one.source == "llm" for one in named),
            "fallbacks": sum(one.source != "llm" for one in named),
            "notes": [*client.notes, *answers.notes],
        }
    return frame, {name_key(name): found for name, found in related.items() if found}, report


def _input(frame: pl.DataFrame, row: int, titles: Sequence[str | None]) -> NamingInput:
    items = frame["item_keys"][row].to_list()[:EXAMPLES]
    examples = tuple(title for key in items if (title := titles[key - 1]))
    return NamingInput(tuple(frame["keywords"][row].to_list()), examples, frame["name"][row])


def _told_apart(frame: pl.DataFrame, named: dict[int, Named]) -> pl.DataFrame:
    """Take each journey's first name that no other of the person has; its own where there is none."""
    called = frame["called"].to_list()
    names, users = frame["name"].to_list(), frame["user_key"].to_list()
    taken: dict[int, set[str]] = {}
    for n, user in enumerate(users):
        taken.setdefault(user, set()).add(name_key(called[n] or names[n]))
    for n, one in named.items():
        if one.source != "llm":
            continue
        mine = taken[users[n]]
        free = [name for name in (one.name, *one.alternatives) if name_key(name) not in mine]
        if free:
            called[n] = free[0]
            mine.add(name_key(free[0]))
    return frame.with_columns(called=pl.Series(called, dtype=pl.String))
