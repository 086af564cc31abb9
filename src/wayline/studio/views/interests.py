"""Interest cards: what each is, what is tried next, and what a click moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wayline.schema import Interest
from wayline.studio.views.colours import Colours
from wayline.studio.views.words import ago, count, share
from wayline.studio.visit import Person

MEMBERS_SHOWN = 6
NOTICED = 0.005  # of a sampling probability


@dataclass(frozen=True, slots=True)
class InterestCard:
    """One interest as its card says it; ``moved`` is what the last click did to it, "" for nothing."""

    interest: Interest
    label: str
    medoid: str
    members: list[str]
    more: int
    facts: list[tuple[str, str]]
    chance: float
    colour: str
    last: str
    moved: str


def cards(
    person: Person, colours: Colours, before: Sequence[Interest] | None = None
) -> list[InterestCard]:
    """Give a card for each interest, most important first; muted ones last.

    Parameters
    ----------
    before : sequence of Interest, optional
        The interests before the last click.
    """
    ordered = sorted(person.interests, key=lambda interest: interest.muted)
    return [_card(interest, person, colours, before) for interest in ordered]


def _card(
    interest: Interest, person: Person, colours: Colours, before: Sequence[Interest] | None
) -> InterestCard:
    titles = [person.titles.get(item, item) for item in interest.items]
    return InterestCard(
        interest=interest,
        label=interest.label or person.titles.get(interest.medoid, interest.medoid),
        medoid=person.titles.get(interest.medoid, interest.medoid),
        members=titles[:MEMBERS_SHOWN],
        more=max(len(titles) - MEMBERS_SHOWN, 0),
        facts=_facts(interest),
        chance=interest.probability,
        colour=colours.of(interest.id),
        last=ago(interest.last_at, person.now),
        moved=_moved(interest, before),
    )


def _facts(interest: Interest) -> list[tuple[str, str]]:
    reward = "not shown yet" if interest.reward is None else f"{interest.reward:.3f}"
    facts = [
        ("drawn next", share(interest.probability)),
        ("importance", f"{interest.importance:.2f}"),
        ("items", f"{len(interest.items):,}"),
        ("shown", f"{round(interest.impressions, 1):g}"),
        ("engaged", f"{round(interest.engagements, 1):g}"),
        ("reward", reward),
    ]
    if interest.boost != 1:
        facts.append(("boost", f"×{interest.boost:g}"))
    return facts


def _moved(interest: Interest, before: Sequence[Interest] | None) -> str:
    if before is None:
        return ""
    old = next((one for one in before if one.id == interest.id), None)
    if old is None:
        return "new"
    parts = []
    grown = len(interest.items) - len(old.items)
    if grown:
        parts.append(f"{'+' if grown > 0 else '−'}{count(abs(grown), 'item')}")
    was, now = share(old.probability), share(interest.probability)
    if was != now and abs(interest.probability - old.probability) >= NOTICED:
        parts.append(f"{'▲' if interest.probability > old.probability else '▼'} {was} → {now}")
    return ", ".join(parts)
