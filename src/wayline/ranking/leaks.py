"""Does any feature look ahead? Ask again with the future cut off, and compare."""

from __future__ import annotations

import numpy as np

from wayline.ranking.examples.heads import Heads
from wayline.ranking.examples.requests import Tokens
from wayline.ranking.examples.sampled import Past, People, Question, answer
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
    tokens: int,
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
            SignalTables(past.tables.tables, past.tables.vectors, was_popular, None),
            ItemState(past.items.vectors, past.items.born_ts_ms, was_popular),
            past.recipe,
            past.space,
            past.known,
        )
        for name in _differences((people, past), (then, was), question, heads, tokens):
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
    tokens: int,
) -> list[str]:
    """Name what differs between two answers."""
    answers = [answer(people, past, question, heads) for people, past in (now, then)]
    sequences = [_tokens(people, question, tokens) for people, _ in (now, then)]
    out = [] if sequences[0] == sequences[1] else ["tokens"]
    one, other = answers
    if one is None or other is None:
        return out if one is other else [*out, "candidates"]
    if not np.array_equal(one.item_idx, other.item_idx):
        return [*out, "candidates"]
    differs = np.abs(one.features - other.features).max(axis=0) > 0
    return out + [FEATURES[column] for column in np.flatnonzero(differs)]


def _tokens(people: People, question: Question, length: int) -> bytes:
    out = Tokens.empty(1, length)
    start = int(people.begin[question.user_idx])
    known = slice(start, start + question.known)
    out.put(0, people.item_idx[known], people.action_key[known], people.ts_ms[known])
    return out.pack()
