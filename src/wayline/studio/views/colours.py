"""A colour for each interest, that stays its own while a page is open."""

from __future__ import annotations

from collections.abc import Iterable

COLOURS = (
    "#0d9488", "#e8743b", "#4f74e3", "#cf4f83", "#8c9a1f", "#9561d8", "#d39a17", "#2f9fd0", "#b45745", "#5f8f66",
)  # fmt: skip
"""Told apart on white and on black, and by most colour-blind people in their order."""
OTHER = "#94a0ac"


class Colours:
    """Gives colours in the order in which interests are first seen; when they run out, the rest share one."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}

    def learn(self, interest_ids: Iterable[str]) -> None:
        """Give a colour to each that has none yet."""
        for id_ in interest_ids:
            if id_ not in self._given and len(self._given) < len(COLOURS):
                self._given[id_] = COLOURS[len(self._given)]

    def of(self, interest_id: str | None) -> str:
        """Give an interest's colour."""
        return self._given.get(interest_id or "", OTHER)
