"""The generations that are kept, and how two of them differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wayline.schema import Generation
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


def lines(generations: Sequence[Generation], current: str | None, now_ms: int) -> list[Line]:
    """Write the generations, the newest first."""
    return [
        Line(
            one.id,
            ago(one.created_at, now_ms),
            minute(one.until),
            f"{one.users:,}",
            f"{one.items:,}",
            f"{one.actions:,}",
            one.id == current,
        )
        for one in reversed(generations)
    ]


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


def goes_back_to(generations: Sequence[Generation], current: str | None) -> str | None:
    """Give the generation that a rollback would answer from; None where there is none before the current one."""
    before = [one.id for one in generations if current is not None and one.id < current]
    return before[-1] if before else None
