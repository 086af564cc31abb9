"""Interests, feeds and actions as tables, with titles where the catalogue has them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from wayline.cli.output import count, day, print_table, say
from wayline.errors import NotFoundError
from wayline.schema import ActionRecord, Feed, Interest, Journey, Reason, Sequences

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
            interest.id,
            _standing(interest),
            _some_titles(engine, interest.items),
            f"{interest.importance:.2f}",
            f"{interest.share:.0%}",
            f"{interest.impressions:.1f}",
            f"{interest.engagements:.1f}",
            "" if interest.reward is None else f"{interest.reward:.3f}",
            f"{interest.probability:.0%}",
            day(interest.last_at)[:10],
        )
        for interest in interests[:most]
    ]
    columns = (
        "id", "interest", "items", ">importance", ">share", ">shown", ">answered", ">reward",
        ">odds", "last seen",
    )  # fmt: skip
    print_table(f"Interests of {user_id}", columns, rows)
    if len(interests) > most:
        say(f"and {count(len(interests) - most, 'smaller interest')}")


def print_journeys(user_id: str, journeys: Sequence[Journey]) -> None:
    """Print a person's journeys, the best first."""
    rows = [
        (
            journey.id,
            journey.name + (" (muted)" if journey.muted else ""),
            ("evergreen" if journey.evergreen else journey.stage),
            f"{journey.confidence:.0%}",
            f"{journey.score:.2f}",
            ", ".join(e.title or e.item_id for e in journey.evidence[:ITEMS_SHOWN]),
            f"{journey.actions:,}",
            day(journey.first_at)[:10],
            day(journey.last_at)[:10],
            ", ".join(journey.related),
        )
        for journey in journeys
    ]
    columns = (
        "id", "journey", "stage", ">sure", ">score", "items", ">actions", "since", "last seen", "see also",
    )  # fmt: skip
    print_table(f"Journeys of {user_id}", columns, rows)


def no_journeys(engine: Engine, user_id: str, *, acted: bool) -> str:
    """Say why somebody has no journeys."""
    if not acted:
        return f"There are no actions of {user_id}, so no journeys."
    rules = engine.config.journeys
    if rules.mode == "off":
        return 'There are no journeys: journeys.mode is "off".'
    return (
        f"{user_id} is on no journey: that takes {rules.min_history} actions (journeys.min_history), "
        f"{rules.min_actions} of them on {rules.min_items} items that go together. If the last build is old, "
        "run `wayline build`."
    )


def _standing(interest: Interest) -> str:
    """An interest's name with what the person said of it."""
    said = ["muted"] if interest.muted else []
    said += [f"× {interest.boost:g}"] if interest.boost != 1 else []
    return f"{interest.label} ({', '.join(said)})" if said else interest.label


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


def print_sequences(engine: Engine, user_id: str, found: Sequences, *, most: int) -> None:
    """Print how long each of a person's sequences is, and the newest tokens."""
    for name, tokens in (
        ("lifelong", found.lifelong),
        ("real-time", found.realtime),
        ("impression", found.impression),
    ):
        span = f", {day(tokens[0].ts)} to {day(tokens[-1].ts)} UTC" if tokens else ""
        say(f"{name}: {count(len(tokens), 'token')}{span}")
    for title, tokens in (
        ("Newest tokens", found.realtime),
        ("Shown and left", found.impression),
    ):
        rows = [
            (day(t.ts), ", ".join(t.actions), title_of(engine, t.item_id), t.surface or "")
            for t in tokens[::-1][:most]
        ]
        if rows:
            columns = ("when (UTC)", "actions", "item", "surface")
            print_table(f"{title} of {user_id}", columns, rows)


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
