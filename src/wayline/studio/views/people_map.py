"""The map of a person's history: item vectors on a plane, a colour an interest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from wayline.schema import FloatMatrix
from wayline.studio.views.colours import OTHER, Colours
from wayline.studio.views.words import DAY_MS, ago
from wayline.studio.visit import Person

SMALLEST, LARGEST = 7.0, 24.0
HALF_LIFE_DAYS = 30.0
ELSE, FEED = "nothing yet", "in the feed"
INK = "#8a94a0"  # read on white and on black


class Plane:
    """Two directions of the item space: those in which one person's items differ most (PCA of theirs alone).

    Learned at the first look and kept, so that what is acted on later moves nothing that was there.
    """

    def __init__(self, vectors: FloatMatrix) -> None:
        known = vectors[np.abs(vectors).sum(axis=1) > 0]
        self._middle = known.mean(axis=0) if len(known) else np.zeros(vectors.shape[1])
        self._axes = np.zeros((2, vectors.shape[1]))
        if len(known) > 1:
            axes = np.linalg.svd(known - self._middle, full_matrices=False)[2][:2]
            largest = axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)]
            self._axes[: len(axes)] = axes * np.sign(largest)[:, None]  # no mirror image by chance

    def place(self, vectors: FloatMatrix) -> FloatMatrix:
        """Put items on the plane, shape [M, 2]."""
        placed: FloatMatrix = ((vectors - self._middle) @ self._axes.T).astype(np.float32)
        return placed


@dataclass(frozen=True, slots=True)
class Point:
    """One item on the map."""

    item_id: str
    title: str
    x: float
    y: float
    size: float
    group: str
    colour: str
    note: str
    rank: int


def points(person: Person, plane: Plane, colours: Colours) -> list[Point]:
    """Place what a person acted on and what their feed shows; items without a vector are left out."""
    if person.vectors is None or person.feed is None:
        return []
    rank = {interest.id: n for n, interest in enumerate(person.interests)}
    interest_of = {item: i for i in reversed(person.interests) for item in i.items}
    newest: dict[str, int] = {}
    for action in (*person.supposed, *person.actions):
        newest.setdefault(action.item_id, action.ts)
    last = max(newest.values(), default=person.now)
    offered = {item.item_id for item in person.feed.items}
    out = []
    has_vector = np.abs(person.vectors).sum(axis=1) > 0
    for item_id, place, known in zip(
        person.on_map, plane.place(person.vectors), has_vector, strict=True
    ):
        if not known:
            continue
        interest, at = interest_of.get(item_id), newest.get(item_id)
        colour = colours.of(interest.id if interest else None)
        group = interest.label if interest else ELSE
        note = "" if at is None else ago(at, max(person.now, last))
        size = SMALLEST if at is None else _size(last - at)
        if at is None and item_id in offered:
            group, note, size, colour = FEED, "", 9.0, INK
        elif colour == OTHER and interest is not None:
            group = "smaller interests"
        title = person.titles.get(item_id, item_id)
        out.append(
            Point(
                item_id, title, round(float(place[0]), 4), round(float(place[1]), 4), size, group, colour, note,
                rank[interest.id] if interest else len(rank),
            )
        )  # fmt: skip
    return out


def _size(age_ms: int) -> float:
    """The more recent, the larger."""
    fresh: float = 0.5 ** (age_ms / DAY_MS / HALF_LIFE_DAYS)
    return round(SMALLEST + (LARGEST - SMALLEST) * fresh, 1)


def options(placed: list[Point]) -> dict[str, Any]:
    """Say it to ECharts.

    Titles are data: the hint is drawn as text (``richText``), never read as HTML; so ECharts' own template, which
    escapes, would show the escapes. The function is ours, a constant.
    """
    groups: dict[tuple[str, str], list[Point]] = {}
    for point in placed:
        groups.setdefault((point.group, point.colour), []).append(point)
    order = sorted(groups, key=lambda g: (g[0] == FEED, g[1] == OTHER, groups[g][0].rank))
    axis = {
        "type": "value", "scale": True, "axisLabel": {"show": False}, "axisTick": {"show": False},
        "axisLine": {"show": False}, "splitLine": {"lineStyle": {"color": INK, "opacity": 0.15}},
    }  # fmt: skip
    return {
        "animationDurationUpdate": 400,
        "grid": {"left": 12, "right": 12, "top": 12, "bottom": 64},
        "xAxis": axis,
        "yAxis": axis,
        "legend": {
            "type": "scroll", "bottom": 4, "left": 8, "right": 8, "icon": "circle",
            "textStyle": {"color": INK, "width": 180, "overflow": "truncate"}, "pageTextStyle": {"color": INK},
            "pageIconColor": INK,
        },
        "tooltip": {"renderMode": "richText", "confine": True, ":formatter": "point => point.name"},
        "series": [_series(*group, groups[group]) for group in order],
    }  # fmt: skip


def _series(name: str, colour: str, members: list[Point]) -> dict[str, Any]:
    offered = name == FEED
    style: dict[str, Any] = {"color": colour, "opacity": 0.8}
    if offered:
        style = {"color": "transparent", "borderColor": colour, "borderWidth": 1.5}
    return {
        "type": "scatter",
        "name": name,
        "symbol": "diamond" if offered else "circle",
        "itemStyle": style,
        "data": [
            {
                "name": "\n".join(filter(None, (p.title, p.group, p.note))),
                "value": [p.x, p.y],
                "symbolSize": p.size,
            }
            for p in members
        ],
    }
