"""Everybody's interests as rows: what earns most and least, what grows and what dies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wayline.at_large import InterestsAtLarge
from wayline.studio.views.words import count, minute

SHOWN = 8
SCALE = 3.0
"""Times the mean, that a range's line reaches to."""
GROWS, DIES, SURE = "growing", "dying", "more than chance"


@dataclass(frozen=True, slots=True)
class Range:
    """An interval on a line that ends at ``SCALE`` times the mean: percents of the line."""

    left: float
    width: float
    at: float


@dataclass(frozen=True, slots=True)
class InterestRow:
    """One group of interests; ``figure`` is its number, ``badge`` what is more than chance about it, "" for nothing.

    ``weekly`` are people by week, the newest last; empty where the row is not about time.
    """

    name: str
    figure: str
    badge: str
    facts: str
    examples: list[str]
    people: list[str]
    range: Range | None = None
    weekly: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class EarningLists:
    """Rows of what came of showing interests; ``summary`` says it of all, "" where nothing was shown."""

    summary: str
    most: list[InterestRow]
    least: list[InterestRow]
    between: list[InterestRow]
    too_little: list[InterestRow]


@dataclass(frozen=True, slots=True)
class GrowthLists:
    """Rows of what changed; ``rest`` is what did not by more than chance, the most common first."""

    summary: str
    growing: list[InterestRow]
    dying: list[InterestRow]
    rest: list[InterestRow]


def as_of(found: InterestsAtLarge) -> str:
    """Say of when and of what this is, and how long it took."""
    return (
        f"As of {minute(found.now_ts_ms)} UTC: {count(len(found.groups), 'interest')} of generation "
        f"{found.generation}, counted in {found.seconds:.1f} s"
    )


def earning_lists(found: InterestsAtLarge) -> EarningLists:
    """Sort the groups with enough impressions by what they earn; the rest by how often they were shown."""
    earning = found.earning
    shown = float(earning.shown.sum())
    enough = np.flatnonzero(earning.enough)
    ranked = enough[np.argsort(-earning.factor[enough], kind="stable")]
    most = ranked[earning.factor[ranked] > 1][:SHOWN]
    least = ranked[earning.factor[ranked] < 1][::-1][:SHOWN]
    between = [q for q in ranked.tolist() if q not in {*most.tolist(), *least.tolist()}]
    little = np.flatnonzero(~earning.enough)
    little = little[np.argsort(-earning.shown[little], kind="stable")]
    summary = ""
    if shown > 0:
        summary = (
            f"{round(shown):,} impressions came through interests, {round(float(earning.engaged.sum())):,} were "
            f"answered with something wanted: {earning.mean:.3f} for each that was looked at, the mean."
        )
    return EarningLists(
        summary,
        [_earning(found, q) for q in most.tolist()],
        [_earning(found, q) for q in least.tolist()],
        [_earning(found, q) for q in between],
        [_earning(found, q) for q in little.tolist()],
    )


def _earning(found: InterestsAtLarge, q: int) -> InterestRow:
    earning = found.earning
    shown = round(float(earning.shown[q]))
    facts = f"{people(int(found.groups.people[q]))} interested"
    if shown:
        facts = (
            f"{round(float(earning.engaged[q])):,} answered of {shown:,} shown to "
            f"{people(int(earning.shown_people[q]))} · reward {earning.reward[q]:.3f} · {facts}"
        )
    enough = bool(earning.enough[q])
    if enough:
        facts = f"between ×{earning.low[q]:.1f} and ×{earning.high[q]:.1f} of the mean · {facts}"
    return InterestRow(
        found.groups.names[q],
        f"×{earning.factor[q]:.1f}" if enough else "",
        SURE if earning.more_than_chance[q] else "",
        facts,
        _titles(found, q),
        _ids(found, found.groups.example_people[q]),
        _range(earning.low[q], earning.high[q], earning.factor[q]) if enough else None,
    )


def _range(low: float, high: float, at: float) -> Range:
    left, right, middle = (round(100 * min(max(x / SCALE, 0.0), 1.0), 1) for x in (low, high, at))
    return Range(left, max(round(right - left, 1), 1.0), middle)


def growth_lists(found: InterestsAtLarge) -> GrowthLists:
    """Sort the groups that changed by more than chance by the least that they changed."""
    growth = found.growth
    marked = growth.more_than_chance
    up = np.flatnonzero(marked & (growth.against_all > 1))
    down = np.flatnonzero(marked & (growth.against_all < 1))
    up, down = up[np.argsort(-growth.low[up])], down[np.argsort(growth.high[down])]
    rest = np.flatnonzero(~marked)
    rest = rest[np.argsort(-(growth.lately + growth.before)[rest], kind="stable")]
    return GrowthLists(
        f"{people(growth.all_lately)} wanted something in the newest 28 days, {growth.all_before:,} in the 28 before.",
        [_growth(found, q, GROWS) for q in up.tolist()],
        [_growth(found, q, DIES) for q in down.tolist()],
        [_growth(found, q, "") for q in rest.tolist()],
    )


def _growth(found: InterestsAtLarge, q: int, badge: str) -> InterestRow:
    growth = found.growth
    lately, before = int(growth.lately[q]), int(growth.before[q])
    facts = f"{before:,} → {people(lately)}"
    if badge:
        high = growth.high[q]
        until = f"×{high:.1f}" if np.isfinite(high) else "any"
        facts += f" · between ×{growth.low[q]:.1f} and {until} of what all others changed by"
    return InterestRow(
        found.groups.names[q],
        change(before, lately),
        badge,
        facts,
        _titles(found, q),
        _ids(found, growth.example_people[q]),
        weekly=tuple(growth.weekly[q].tolist()),
    )


def change(before: int, lately: int) -> str:
    """Say a change as people do.

    >>> change(100, 150), change(100, 80), change(0, 7), change(0, 0), change(10, 90)
    ('+50%', '−20%', 'new', '', '×9.0')
    """
    if not before:
        return "new" if lately else ""
    if lately >= 3 * before:
        return f"×{lately / before:.1f}"
    return f"{lately / before - 1:+.0%}".replace("-", "−")


def people(number: int) -> str:
    """Count people.

    >>> people(1), people(1200)
    ('1 person', '1,200 people')
    """
    return f"{number:,} person" if number == 1 else f"{number:,} people"


def line(weekly: tuple[int, ...]) -> str:
    """Give the corners of a line of weeks, in a box 100 wide and 24 high, as SVG has them.

    >>> line((0, 2, 1))
    '0,23 50,1 100,12'
    """
    most, last = max(*weekly, 1), max(len(weekly) - 1, 1)
    return " ".join(f"{100 * n / last:.4g},{23 - 22 * y / most:.4g}" for n, y in enumerate(weekly))


def said(weekly: tuple[int, ...]) -> str:
    """Say a line of weeks to who does not see it.

    >>> said((3, 9, 5))
    'People a week over 3 weeks: 3 at first, 9 at most, 5 in the newest'
    """
    return (
        f"People a week over {len(weekly)} weeks: {weekly[0]:,} at first, {max(weekly):,} at most, "
        f"{weekly[-1]:,} in the newest"
    )


def _titles(found: InterestsAtLarge, q: int) -> list[str]:
    return [found.titles[item] for item in found.groups.examples[q]]


def _ids(found: InterestsAtLarge, keys: list[int]) -> list[str]:
    return [found.user_ids[key] for key in keys if key in found.user_ids]
