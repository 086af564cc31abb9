"""The generations that are kept, and how two of them differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wayline.schema import Generation
from wayline.storage.underway import Work
from wayline.studio.views.overview import flat
from wayline.studio.views.words import ago, minute


@dataclass(frozen=True, slots=True)
class Line:
    """One generation: when it was built, and of what."""

    id: str
    built: str
    until: str
    people: str
    items: str
    actions: str
    in_use: bool
    wrong: str = ""


def lines(
    generations: Sequence[Generation],
    current: str | None,
    now_ms: int,
    broken: Mapping[str, str] | None = None,
) -> list[Line]:
    """Write the generations, the newest first; those that cannot even be read have their fault alone."""
    wrong = dict(broken or {})
    found = [
        Line(
            one.id,
            ago(one.created_at, now_ms),
            minute(one.until),
            f"{one.users:,}",
            f"{one.items:,}",
            f"{one.actions:,}",
            one.id == current,
            wrong.pop(one.id, ""),
        )
        for one in generations
    ]
    found += [Line(id_, "–", "–", "–", "–", "–", id_ == current, why) for id_, why in wrong.items()]
    return sorted(found, key=lambda line: line.id, reverse=True)


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure of two generations, empty where one does not have it."""

    name: str
    left: str
    right: str

    @property
    def differs(self) -> bool:
        """Whether it is not the same in both."""
        return self.left != self.right


def compared(left: Generation, right: Generation) -> list[Compared]:
    """Put the figures of two generations side by side: those that differ first, each in the order of the builds."""
    sides = [_figures(one) for one in (left, right)]
    names = list(dict.fromkeys([*sides[0], *sides[1]]))
    found = [Compared(name, sides[0].get(name, ""), sides[1].get(name, "")) for name in names]
    return sorted(found, key=lambda one: not one.differs)


def _figures(one: Generation) -> dict[str, str]:
    return {
        "data until": minute(one.until),
        "actions": f"{one.actions:,}",
        "people": f"{one.users:,}",
        "items": f"{one.items:,}",
        **dict(flat(one.metrics)),
        **dict(flat(one.recipe.get("weights", {}), "recipe weight")),
    }


def goes_back_to(
    generations: Sequence[Generation], current: str | None, broken: Mapping[str, str] | None = None
) -> str | None:
    """Give the generation that a rollback would answer from; None where there is no sound one before the current."""
    sound = [one.id for one in generations if one.id not in (broken or {})]
    before = [id_ for id_ in sound if current is not None and id_ < current]
    return before[-1] if before else None


@dataclass(frozen=True, slots=True)
class Going:
    """A build or training: what it is at, its steps with how long each took, and its log."""

    title: str
    running: bool
    wrong: bool
    share: float
    steps: list[tuple[str, str]]
    lines: list[str]


def going(work: Work, now_ms: int) -> Going:
    """Say how far a build or training is, or how it ended."""
    running = work.state == "running"
    until = now_ms if running else work.updated_at
    took = _span(until - work.began_at)
    titles = {
        "running": f"A {work.kind} is running, since {took}",
        "done": f"The last {work.kind} took {took}, ended {ago(work.updated_at, now_ms)}: {work.said}",
        "failed": f"The last {work.kind} failed {ago(work.updated_at, now_ms)}: {work.said}",
        "cut off": f"The last {work.kind} was cut off after {took}: its process is gone. Feeds are as before.",
    }
    return Going(
        titles[work.state],
        running,
        work.state in ("failed", "cut off"),
        work.steps[-1].share if work.steps else 0.0,
        [(s.name, _span((s.ended_at or until) - s.began_at)) for s in work.steps],
        work.lines,
    )


def _span(ms: int) -> str:
    """Say how long.

    >>> _span(400), _span(65_000), _span(7_260_000)
    ('0.4 s', '1 min 5 s', '2 h 1 min')
    """
    s = max(ms, 0) / 1000
    if s < 60:
        return f"{s:.1f} s"
    minutes, seconds = divmod(round(s), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"
