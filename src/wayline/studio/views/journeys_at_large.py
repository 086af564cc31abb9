"""Everybody's journeys as rows, where people go next, and what came of what they were told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wayline.at_large import JourneyCount, JourneysAtLarge, Told, ToldAtLarge
from wayline.studio.views.interests_at_large import SURE, people
from wayline.studio.views.words import day, minute, share

STATES = {"queued": "queued", "sending": "being sent", "sent": "sent", "failed": "failed"}


@dataclass(frozen=True, slots=True)
class JourneyAtLargeRow:
    """One journey over everybody."""

    name: str
    facts: str
    next: str
    related: str
    people: list[str]


@dataclass(frozen=True, slots=True)
class NextRow:
    """A step that people take; ``badge`` says that more of them do than by chance."""

    before: str
    after: str
    figure: str
    badge: str
    facts: str
    people: list[str]


@dataclass(frozen=True, slots=True)
class ToldRow:
    """What came of some notifications; ``figure`` is the share that was clicked."""

    name: str
    figure: str
    facts: str
    people: list[str]


def as_of(found: JourneysAtLarge) -> str:
    """Say of when and of what this is, and how long it took."""
    return f"As of {minute(found.until_ts_ms)} UTC: generation {found.generation}, counted in {found.seconds:.1f} s"


def journey_rows(found: JourneysAtLarge) -> list[JourneyAtLargeRow]:
    """Give a row for each journey, the most common first."""
    return [_row(one, found) for one in found.journeys or ()]


def _row(one: JourneyCount, found: JourneysAtLarge) -> JourneyAtLargeRow:
    lasts = (
        "half last a day or less"
        if one.median_days < 1
        else f"half last {days(one.median_days)} or more"
    )
    facts = (
        f"{people(one.people)} · {one.ongoing:,} ongoing, {one.ended:,} ended · {share(one.evergreen)} evergreen · "
        f"{lasts} · {share(one.confidence)} sure"
    )
    steps = ", ".join(
        f"{step.name} (×{step.lift:.1f})" for step in one.next if step.more_than_chance
    )
    return JourneyAtLargeRow(
        one.name,
        facts,
        f"then: {steps}" if steps else "",
        "others on it are also on: " + ", ".join(one.related) if one.related else "",
        _ids(found.user_ids, one.example_people),
    )


def next_rows(found: JourneysAtLarge) -> list[NextRow]:
    """Give the steps that people take, those that are more than chance first, and then the most frequent."""
    steps = [(one, step) for one in found.journeys or () for step in one.next]
    steps.sort(
        key=lambda pair: (not pair[1].more_than_chance, -pair[1].people, pair[0].name, pair[1].name)
    )
    return [
        NextRow(
            one.name,
            step.name,
            f"×{step.lift:.1f}",
            SURE if step.more_than_chance else "",
            f"{people(step.people)} of {one.left:,} who went on; chance would have sent {step.expected:.1f}",
            _ids(found.user_ids, step.example_people),
        )
        for one, step in steps
    ]


def went_on(found: JourneysAtLarge) -> str:
    """Say how often anything followed an ended journey."""
    ended = sum(one.ended for one in found.journeys or ())
    left = sum(one.left for one in found.journeys or ())
    return f"Of {ended:,} journeys that ended, {left:,} were followed by a new one in time."


def days(number: float) -> str:
    """Say a length.

    >>> days(1), days(45.4), days(800)
    ('1 day', '45 days', '2.2 years')
    """
    if number >= 730:
        return f"{number / 365.25:.1f} years"
    return f"{round(number):,} day" + ("" if round(number) == 1 else "s")


def states(found: ToldAtLarge) -> list[tuple[str, str]]:
    """Name the states and how many notifications are in each."""
    return [(STATES.get(name, name), f"{number:,}") for name, number in found.states.items()]


def week_rows(found: ToldAtLarge) -> list[ToldRow]:
    """Give a row for each week in which anything was sent, the newest first."""
    return [_told(f"from {day(one.start_ts_ms)}", one, found) for one in found.by_week]


def told_rows(found: ToldAtLarge) -> list[ToldRow]:
    """Give a row for each journey that people were told of, the most told first."""
    return [_told(one.name, one, found) for one in found.by_journey]


def _told(name: str, one: Told, found: ToldAtLarge) -> ToldRow:
    facts = (
        f"{one.sent:,} sent · {_of(one.opened, one)} opened · {_of(one.clicked, one)} clicked · "
        f"{_of(one.dismissed, one)} dismissed"
    )
    clicked = f"{share(one.clicked / one.sent)} clicked"
    return ToldRow(name, clicked, facts, _ids(found.user_ids, one.example_people))


def _of(number: int, one: Told) -> str:
    return f"{number:,} ({share(number / one.sent)})"


def _ids(known: Mapping[int, str], keys: list[int]) -> list[str]:
    return [known[key] for key in keys if key in known]
