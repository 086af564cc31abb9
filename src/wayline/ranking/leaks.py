"""Does any feature look ahead? Ask again with the future cut off, and compare."""

from __future__ import annotations

import numpy as np

from wayline.ranking.examples.heads import Heads
from wayline.ranking.examples.readings import SequenceReading
from wayline.ranking.examples.sampled import Past, People, Question, Shown, answer, block_of
from wayline.ranking.examples.selected import NOBODY_SHOWN
from wayline.ranking.features import FEATURES, ItemState
from wayline.retrieval.fit import Wants
from wayline.retrieval.popularity import Popularity
from wayline.retrieval.signals import HALF_LIVES_DAYS, SignalTables
from wayline.schema import BoolVector


def find_leaks(
    people: People,
    wants: Wants,
    past: Past,
    questions: list[Question],
    heads: Heads,
    *,
    reading: SequenceReading,
    shown: Shown = lambda _user_idx, _at_ts_ms: NOBODY_SHOWN,
) -> list[str]:
    """Answer each question twice, from the whole log and from the log as it was then, and name what differs.

    Tables and vectors are the window's, made from what came before it, both times; everything read as of the moment
    (a person's history, popularity, ages, the sequence) is made again from the actions up to the moment alone.

    Returns
    -------
    list of str
        One line a feature, or "tokens" or "candidates", with how many questions differ; empty when nothing does.
    """
    differing: dict[str, int] = {}
    for question in questions:
        then = without_future(people, question)
        counted = wants.where(wants.ts_ms <= question.at_ts_ms)
        was_popular = Popularity(
            counted.ts_ms, counted.item_idx, wants.n_items, HALF_LIVES_DAYS, None
        )
        was = Past(
            SignalTables(
                past.tables.tables, past.tables.vectors, was_popular, None, past.tables.births
            ),
            ItemState(past.items.vectors, past.items.born_ts_ms, was_popular),
            past.recipe,
            past.space,
            past.known,
        )
        for name in _differences((people, past), (then, was), question, heads, reading, shown):
            differing[name] = differing.get(name, 0) + 1
    return [
        f"{name} knows of later actions in {count} of {len(questions)} questions"
        for name, count in differing.items()
    ]


def without_future(people: People, question: Question) -> People:
    """Give everybody's actions as the log held them then: nothing later, and of the person asked only what is known."""
    owner = np.repeat(np.arange(len(people.begin) - 1), np.diff(people.begin))
    keep: BoolVector = people.ts_ms <= question.at_ts_ms
    own = owner == question.user_idx
    keep[own] = np.arange(own.sum()) < question.known
    sizes = np.bincount(owner[keep], minlength=len(people.begin) - 1)
    return People(
        people.item_idx[keep], people.action_key[keep], people.ts_ms[keep], people.worth[keep],
        people.first[keep], np.concatenate([[0], np.cumsum(sizes)]),
    )  # fmt: skip


def _differences(
    now: tuple[People, Past],
    then: tuple[People, Past],
    question: Question,
    heads: Heads,
    reading: SequenceReading,
    shown: Shown,
) -> list[str]:
    """Name what differs between two answers."""
    one, other = (answer(people, past, question, heads) for people, past in (now, then))
    if one is None or other is None:
        return [] if one is other else ["candidates"]
    blocks = [
        block_of(people, question, reading, one.item_idx, shown).pack(np.arange(len(one.item_idx)))
        for people, _ in (now, then)
    ]
    out = [] if blocks[0] == blocks[1] else ["tokens"]
    if not np.array_equal(one.item_idx, other.item_idx):
        return [*out, "candidates"]
    differs = np.abs(one.features - other.features).max(axis=0) > 0
    return out + [FEATURES[column] for column in np.flatnonzero(differs)]
