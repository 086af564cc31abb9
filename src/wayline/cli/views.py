"""Interests, feeds and actions as tables, with titles where the catalogue has them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from wayline.cli.output import count, day, print_table, say
from wayline.errors import NotFoundError
from wayline.schema import ActionRecord, Feed, Interest, Reason

if TYPE_CHECKING:
    from wayline.engine import Engine

ITEMS_SHOWN = 4
REASONS_SHOWN = 2


def print_interests(
    engine: Engine, user_id: str, interests: Sequence[Interest], *, most: int
) -> None:
    """Print what a person is interested in, most important first, and how many more there are."""
    rows = [
        (
            interest.label,
            _some_titles(engine, interest.items),
            f"{interest.importance:.2f}",
            f"{interest.share:.0%}",
            day(interest.last_at)[:10],
        )
        for interest in interests[:most]
    ]
    columns = ("interest", "items", ">importance", ">share", "last seen")
    print_table(f"Interests of {user_id}", columns, rows)
    if len(interests) > most:
        say(f"and {count(len(interests) - most, 'smaller interest')}")


def print_actions(engine: Engine, user_id: str, actions: Iterable[ActionRecord]) -> None:
    """Print what a person did, newest first."""
    rows = [
        (
            day(record.ts),
            record.action,
            title_of(engine, record.item_id),
            "" if record.value is None else f"{record.value:g}",
        )
        for record in actions
    ]
    print_table(f"Newest actions of {user_id}", ("when (UTC)", "action", "item", ">value"), rows)


def print_feed(feed: Feed, user_id: str) -> None:
    """Print a feed with the first reasons for each item."""
    rows = [
        (
            str(place),
            item.title or item.item_id,
            f"{item.score:.3f}",
            "; ".join(_reason(reason) for reason in item.reasons[:REASONS_SHOWN]),
        )
        for place, item in enumerate(feed.items, start=1)
    ]
    kind = " (new here: no history yet)" if feed.cold_start else ""
    print_table(f"Feed of {user_id}{kind}", (">", "item", ">score", "because"), rows)


def title_of(engine: Engine, item_id: str) -> str:
    """An item's title, or its id where the catalogue has none."""
    try:
        return engine.item(item_id).title or item_id
    except NotFoundError:
        return item_id


def _some_titles(engine: Engine, item_ids: Sequence[str]) -> str:
    # A person can act on an item twice; the table lists each once.
    distinct = list(dict.fromkeys(item_ids))
    titles = [title_of(engine, item_id) for item_id in distinct[:ITEMS_SHOWN]]
    more = len(distinct) - len(titles)
    return ", ".join(titles) + (f" and {more} more" if more else "")


def _reason(reason: Reason) -> str:
    return reason.text or reason.source
