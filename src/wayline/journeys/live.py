"""The journeys of anybody at any moment: a pure function of the build and of the person's own actions up to then."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Self

import numpy as np

from wayline.interests.controls import Control, Standing, settle
from wayline.journeys.everybody import PersonLog, Task
from wayline.journeys.finder import Before, FoundJourney, at_time, find_journeys
from wayline.journeys.names import name_key
from wayline.journeys.ranking import FEATURES, diversify, features_of
from wayline.journeys.table import JourneyTable
from wayline.schema import BoolVector, IntVector

KEPT = 1024  # people whose journeys stay in memory
MOST = 0.5  # of a journey's evidence


@dataclass(frozen=True, slots=True)
class LiveJourney:
    """A journey as of a moment, with what its ranker and the person say of it."""

    found: FoundJourney
    name: str
    score: float
    muted: bool
    boost: float
    features: dict[str, float]


@dataclass(frozen=True, slots=True)
class MutedInterests:
    """What a person muted among their interests: the names, and the positions of the items."""

    names: list[str]
    item_idx: IntVector


class LiveJourneys:
    """Journeys by request.

    Parameters
    ----------
    task : Task
        Of the generation; its ``now_ts_ms`` is not used.
    table : JourneyTable
        What the build found: where ids and names come from.
    until_ts_ms : int
        Time of the build: for a moment before it, what it found gives names and ids and draws nothing together.
    """

    def __init__(self, task: Task, table: JourneyTable, until_ts_ms: int) -> None:
        self._task, self._table, self._until_ts_ms = task, table, until_ts_ms
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, ...], list[FoundJourney]] = OrderedDict()

    @property
    def task(self) -> Task:
        """What journeys are made with."""
        return self._task

    def without_memory(self) -> Self:
        """Give the same journeys with caches of their own, for questions that must leave nothing behind."""
        other = copy.copy(self)
        other._lock, other._kept = threading.Lock(), OrderedDict()
        return other

    def before(self, user_key: int) -> list[Before]:
        """Give what the build found of a person."""
        return self._table.of(user_key)

    def of(
        self,
        person: PersonLog,
        controls: list[Control],
        at_ts_ms: int,
        muted: MutedInterests | None = None,
    ) -> list[LiveJourney]:
        """Give a person's journeys at a moment, the best first; muted ones last.

        Parameters
        ----------
        person : PersonLog
            Actions up to ``at_ts_ms``.
        controls : list of Control
            What they said of their journeys up to then.
        muted : MutedInterests, optional
            A journey is muted with an interest of its name, or with those that most of it rests on, unless the person
            said otherwise of the journey itself.
        """
        rules = self._task.rules
        found = [at_time(one, at_ts_ms, rules) for one in self._find(person, at_ts_ms)]
        if not found:
            return []
        standing = settle([one.id for one in found], [one.item_idx for one in found], controls)
        features = features_of(found, at_ts_ms)
        score = self._task.ranker.score(features) * standing.boost
        order, final = diversify(score, np.stack([one.centre for one in found]))
        called = {one.id: one.called for one in person.before if one.called}
        names = _names(found, called, standing)
        if muted is not None:
            standing.muted[:] |= _muted_with(muted, found, names) & ~standing.settled
        order = sorted(order, key=lambda q: bool(standing.muted[q]))
        return [
            LiveJourney(
                found[q],
                names[q],
                float(final[q]),
                bool(standing.muted[q]),
                float(standing.boost[q]),
                dict(zip(FEATURES, features[q].round(5).tolist(), strict=True)),
            )
            for q in order
        ]

    def _find(self, person: PersonLog, at_ts_ms: int) -> list[FoundJourney]:
        """Find what does not depend on how long ago it was; kept, as this is the costly part."""
        newest = max(
            int(person.ts_ms[-1]) if len(person.ts_ms) else 0, max(person.words.ts_ms, default=0)
        )
        oldest = int(person.ts_ms[0]) if len(person.ts_ms) else 0
        sticky = at_ts_ms >= self._until_ts_ms
        done = (len(person.item_idx), len(person.words.text))
        key = (person.user_key, *done, oldest, newest, int(sticky))
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                return kept
        found = find_journeys(
            self._task.keywords, person.user_id, person.item_idx, person.ts_ms, person.worth, person.words,
            now_ts_ms=at_ts_ms, rules=self._task.rules, before=person.before, titles=self._task.calls,
            blocked=self._task.blocked, sticky=sticky,
        )  # fmt: skip
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found


def _muted_with(muted: MutedInterests, found: list[FoundJourney], names: list[str]) -> BoolVector:
    """Tell which journeys are, to the person who muted these interests, the same thing."""
    keys = {name_key(name) for name in muted.names}
    out = np.zeros(len(found), np.bool_)
    for q, (one, name) in enumerate(zip(found, names, strict=True)):
        resting = one.weight[np.isin(one.item_idx, muted.item_idx)].sum()
        out[q] = (
            bool({name_key(name), name_key(one.name)} & keys) or resting > MOST * one.weight.sum()
        )
    return out


def _names(found: list[FoundJourney], called: dict[str, str], standing: Standing) -> list[str]:
    """Name each: the person's own name, else the model's where no other has it, else the keyword's."""
    own = {name_key(one.name) for one in found}
    out = []
    for q, one in enumerate(found):
        name = called.get(one.id, "")
        free = name and (name_key(name) == name_key(one.name) or name_key(name) not in own)
        out.append(standing.name[q] or (name if free else one.name))
    return out
