"""Items found, seen from all sides, hidden and corrected: ``engine.catalogue``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import polars as pl

from wayline.catalogue.activity import Activity
from wayline.catalogue.records import ItemActions, ItemAudience, ItemInterest, ItemLiker
from wayline.catalogue.texts import ItemTexts, counts_of
from wayline.errors import InputError, NotFoundError, shorten
from wayline.intake import validate_items
from wayline.schema import IntVector, ItemFeedback, ItemMatch, ItemRecord
from wayline.served import ServedGeneration
from wayline.storage.store import Store

MOST_FOUND = 50
MOST_NAMED = 1_000
"""Interests that hold one item and are given a name: about half a millisecond each."""
INTERESTS, LIKERS = 12, 10
TEXTS = ("title", "description", "category")


class Catalogue:
    """The items of one workspace. Safe to use from many threads and processes.

    Parameters
    ----------
    store : Store
    served : callable
        Gives the generation in use; None before the first build.
    """

    def __init__(self, store: Store, served: Callable[[], ServedGeneration | None]) -> None:
        self._store, self._served = store, served
        self._texts = ItemTexts(store)
        self._activity = Activity(store)

    def search(self, query: str = "", *, limit: int = MOST_FOUND) -> list[ItemMatch]:
        """Find items by words of their title, category and tags, or by their id; the best answer first.

        Every word must be a part of one of these, in small or large letters; an id that is the query comes first.
        Without a word: the items acted on most in the four weeks up to the newest action.

        Cost: the first search reads all titles (and reads them again after the catalogue changed), the next ones are a
        scan in memory: milliseconds for 100,000 items.

        Raises
        ------
        InputError
            If ``limit`` is not 1 to 50, or the query has more than 200 characters.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST_FOUND:
            raise InputError(
                f"Got limit={shorten(limit)}, expected a whole number from 1 to {MOST_FOUND}.",
                field="limit",
            )
        often = self._activity.lately()
        keys = self._texts.find(query, often, limit) if query.strip() else _most(often, limit)
        counts = counts_of(keys, often)
        return [
            ItemMatch(r.item_id, r.title, r.category, hidden=r.hidden, lately=int(n))
            for r, n in zip(self._store.item_records(keys), counts.tolist(), strict=True)
        ]

    def actions(self, item_id: str) -> ItemActions:
        """What was done with an item, by action and by week, in the newest two million actions or more.

        The first question counts these, about a second; later ones count what came since.

        Raises
        ------
        NotFoundError
        """
        return self._activity.of(self._key(item_id))

    def feedback(self, item_id: str) -> tuple[ItemFeedback, dict[str, int]]:
        """What came of showing an item in the newest 20,000 answers, and its engagements by the name of the action.

        Raises
        ------
        NotFoundError
        """
        found = self._store.item_feedback(self._key(item_id))
        names = self._store.action_names()
        by_number = sorted(found.engagements.items(), key=lambda pair: -pair[1])
        return found, {names[key - 1]: number for key, number in by_number}

    def audience(self, item_id: str) -> ItemAudience:
        """Who likes an item: everybody's interests that hold it, as of the generation in use; empty before a build.

        Raises
        ------
        NotFoundError
        """
        key = self._key(item_id)
        served = self._served()
        if served is None:
            return ItemAudience()
        table = served.counted.table
        found = table.holding(key - 1)
        ids = self._store.user_ids(found.user_key)
        known = [n for n, user_id in enumerate(ids) if user_id]  # others were forgotten meanwhile
        named = known[:MOST_NAMED]
        labels = {n: served.label(*table.members_of(int(found.row[n]))) for n in named}
        groups: dict[str, list[int]] = defaultdict(list)
        for n, label in labels.items():
            groups[label].append(n)
        interests = [
            ItemInterest(
                label,
                len({ids[n] for n in rows}),
                float(found.importance[rows].mean()),
                float(found.share[rows].mean()),
            )
            for label, rows in groups.items()
        ]
        interests.sort(key=lambda one: (-one.people, -one.importance, one.label))
        first_of = {ids[n]: n for n in reversed(named)}
        likers = sorted(first_of.values())[:LIKERS]
        return ItemAudience(
            people=len({ids[n] for n in known}),
            named=len(named),
            interests=interests[:INTERESTS],
            likers=[ItemLiker(ids[n], labels[n], float(found.weight[n])) for n in likers],
        )

    def hide(self, item_id: str, *, hidden: bool = True) -> None:
        """Show an item in no feed from now on, the very next included; or show it again.

        Raises
        ------
        NotFoundError
        """
        self._key(item_id)
        self._store.set_hidden(item_id, hidden)

    def change(
        self,
        item_id: str,
        *,
        title: str | None = None,
        description: str | None = None,
        category: str | None = None,
        tags: Iterable[str] | str | None = None,
    ) -> ItemRecord:
        """Correct what is said about an item, by the rules of ``engine.add_items``; all of it or nothing.

        What is left out stays as it is, an empty text or list clears. Item vectors and interests' names follow with the
        next build.

        Parameters
        ----------
        tags : iterable of str, or str
            As a text they are separated by ``|`` or, without one, by ``,``.

        Raises
        ------
        NotFoundError
        InputError
            If a text breaks a rule of the intake: what and why, in a line.
        """
        key = self._key(item_id)
        said: dict[str, Any] = {
            "title": title,
            "description": description,
            "category": category,
            "tags": tags if tags is None or isinstance(tags, str) else list(tags),
        }
        given = {name: value for name, value in said.items() if value is not None}
        if given:
            chunk = validate_items([{"item_id": item_id, **given}])
            if chunk.rejections:
                refused = chunk.rejections[0]
                raise InputError(f"{refused.reason}.", field=refused.field)
            # What is not given is left out: the intake takes an item without tags for one that has none.
            frame = chunk.frame.select("item_id", *given)
            self._store.upsert_items(
                frame.with_columns(pl.col(name).fill_null("") for name in TEXTS if name in given)
            )
        return self._store.item(key)

    def _key(self, item_id: str) -> int:
        key = self._store.item_key(item_id)
        if key is None:
            raise NotFoundError(
                f"There is no item {shorten(item_id)}: check the id, or add it first.",
                field="item_id",
            )
        return key


def _most(often: IntVector, limit: int) -> IntVector:
    """The keys of the items acted on most often, those never acted on left out."""
    best = np.argsort(-often, kind="stable")[:limit]
    return best[often[best] > 0] + 1
