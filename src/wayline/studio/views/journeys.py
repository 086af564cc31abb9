"""Journeys on a line of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wayline.schema import Journey
from wayline.studio.views.words import DAY_MS, count, day, share

EVIDENCE_SHOWN = 6


@dataclass(frozen=True, slots=True)
class JourneyRow:
    """One journey, and what it says of itself.

    ``left`` and ``width`` of its bar and the ``dots`` of its evidence are percents of the line.
    """

    journey: Journey
    name: str
    stage: str
    evergreen: bool
    muted: bool
    facts: str
    span: str
    evidence: list[tuple[str, str]]
    more: int
    related: list[str]
    left: float
    width: float
    dots: list[float]


@dataclass(frozen=True, slots=True)
class JourneyLine:
    """All of a person's journeys over one axis."""

    rows: list[JourneyRow]
    start: str
    end: str


def line(journeys: Sequence[Journey], now: int) -> JourneyLine:
    """Lay journeys on a line from the first action of any to now."""
    if not journeys:
        return JourneyLine([], "", "")
    start = min(j.first_at for j in journeys)
    end = max(now, *(j.last_at for j in journeys), start + DAY_MS)

    def percent(ts_ms: int) -> float:
        return round(100 * min(max((ts_ms - start) / (end - start), 0.0), 1.0), 2)

    rows = [
        JourneyRow(
            journey=j,
            name=j.name,
            stage=j.stage,
            evergreen=j.evergreen,
            muted=j.muted,
            facts=f"{share(j.confidence)} sure · score {j.score:.2f} · {count(j.actions, 'action')}"
            + (f" · boost × {j.boost:g}" if j.boost != 1 else ""),
            span=f"{day(j.first_at)} – {day(j.last_at)}",
            evidence=[(e.title or e.item_id, day(e.last_at)) for e in j.evidence[:EVIDENCE_SHOWN]],
            more=max(len(j.evidence) - EVIDENCE_SHOWN, 0),
            related=j.related,
            left=percent(j.first_at),
            width=max(round(percent(j.last_at) - percent(j.first_at), 2), 1.0),
            dots=sorted(
                {round(2 * percent(e.last_at)) / 2 for e in j.evidence}
            ),  # finer is not seen
        )
        for j in journeys
    ]
    return JourneyLine(rows, day(start), day(end))
