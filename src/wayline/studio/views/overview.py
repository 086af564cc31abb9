"""The workspace at a glance, and how it moves."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wayline.schema import Generation
from wayline.studio.views.words import ago, minute

WINDOW_S = 60.0
KEPT = 400


@dataclass(frozen=True, slots=True)
class Tile:
    """One number: what it is, what it says, and a line below."""

    name: str
    value: str
    note: str = ""
    warn: bool = False


class Pulse:
    """What moved while a page is open: counts of the last minute, from samples of the engine's own."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Mapping[str, float]]] = deque(maxlen=KEPT)

    def take(self, at_s: float, stats: Mapping[str, Any]) -> None:
        """Take a sample at a moment of a steady clock."""
        counters = stats["counters"]
        fallbacks = sum(n for name, n in counters.items() if name.startswith("degraded:"))
        self._samples.append(
            (
                at_s,
                {
                    "actions": stats["position"],
                    "feeds": counters.get("feeds", 0),
                    "feed_ms": counters.get("feed_ms", 0),
                    "fallbacks": fallbacks,
                },
            )
        )

    def moved(self, name: str) -> float:
        """By how much a count grew in the last minute, or since the page was opened."""
        if not self._samples:
            return 0
        now_s, last = self._samples[-1]
        first = next(s for at_s, s in self._samples if now_s - at_s <= WINDOW_S)
        return last[name] - first[name]

    def line(self, name: str) -> list[tuple[float, float]]:
        """The growth between samples, by a minute: seconds before now, and the rate."""
        now_s = self._samples[-1][0] if self._samples else 0.0
        pairs = zip(list(self._samples)[:-1], list(self._samples)[1:], strict=True)
        return [
            (round(b[0] - now_s, 1), round(60 * (b[1][name] - a[1][name]) / (b[0] - a[0]), 2))
            for a, b in pairs
            if b[0] > a[0]
        ]


def tiles(stats: Mapping[str, Any], pulse: Pulse) -> list[Tile]:
    """Give the numbers of the moment."""
    counters, latency = stats["counters"], stats.get("latency") or {}
    ever = counters.get("feeds", 0)
    fallbacks = sum(n for name, n in counters.items() if name.startswith("degraded:"))
    lag, newest = stats.get("lag", 0), stats.get("newest_ts")
    in_the_log = f"{stats['actions']:,} in the log"
    if newest is not None:
        in_the_log += f", the newest of {minute(newest)} UTC"
    return [
        Tile("actions a minute", f"{pulse.moved('actions'):,.0f}", in_the_log),
        Tile("people", f"{stats['users']:,}"),
        Tile("items", f"{stats['items']:,}"),
        Tile(
            "feed latency", f"{latency['p50']:.0f} ms" if latency else "–",
            f"p95 {latency['p95']:.0f} ms, p99 {latency['p99']:.0f} ms of the newest {latency['feeds']:,}" if latency
            else "this server answered no feed yet",
        ),
        Tile("feeds", f"{ever:,}", f"{pulse.moved('feeds'):,.0f} in the last minute, by this server"),
        Tile("fallbacks", f"{fallbacks:,}", "stages that failed or were too slow", warn=fallbacks > 0),
        Tile("lag", f"{lag:,}", "actions since the build; feeds see them all the same"),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class GenerationCard:
    """The generation in use, as it says of itself."""

    id: str
    built: str
    facts: list[tuple[str, str]]
    metrics: list[tuple[str, str]]
    recipe: list[tuple[str, str]]
    seconds: list[tuple[str, str]]


def generation_card(generation: Generation, now_ms: int) -> GenerationCard:
    """Say what is in use and how good its build found it."""
    return GenerationCard(
        generation.id,
        ago(generation.created_at, now_ms),
        [
            ("people", f"{generation.users:,}"),
            ("items", f"{generation.items:,}"),
            ("actions", f"{generation.actions:,}"),
        ],
        flat(generation.metrics),
        flat(generation.recipe.get("weights", {})),
        [(name, f"{s:.1f} s") for name, s in generation.seconds.items()],
    )


def flat(metrics: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Write nested figures as lines.

    >>> flat({"recipe": {"ndcg_at_10": 0.25, "mode": "fit"}})
    [('recipe NDCG@10', '0.25'), ('recipe mode', 'fit')]
    """
    out: list[tuple[str, str]] = []
    for name, value in metrics.items():
        words = re.sub(r"ndcg_at_(\d+)", r"NDCG@\1", name).replace("_", " ")
        called = f"{before} {words}".strip()
        if isinstance(value, Mapping):
            out += flat(value, called)
        elif isinstance(value, (bool, str)):
            out.append((called, str(value)))
        elif isinstance(value, int):
            out.append((called, f"{value:,}"))
        elif isinstance(value, float):
            out.append((called, f"{value:.4g}"))
    return out


LINES = {
    "recipe": ("this recipe", "#0d9488"),
    "ranker": ("with its ranker", "#e8743b"),
    "plain": ("plain recipe", "#4f74e3"),
    "item_knn": ("item-kNN", "#9561d8"),
    "popular": ("popular in 30 days", "#94a0ac"),
}


@dataclass(frozen=True, slots=True)
class Quality:
    """NDCG@10 by build, each on the newest part of the log it was built from, so that builds differ in their cases too.

    ``lines`` has a value for each build, None where a build did not measure it; ``said`` is the newest in words.
    """

    builds: list[str]
    lines: dict[str, list[float | None]]
    said: list[str]


def quality(generations: Sequence[Generation]) -> Quality:
    """Read how good each build found itself, oldest first: the mean over the cases of its regimes."""
    found = [(one.id, _measured(one)) for one in generations]
    found = [(id_, values) for id_, values in found if values]
    builds = [id_ for id_, _ in found]
    lines = {
        name: [values.get(name) for _, values in found]
        for name in LINES
        if any(name in values for _, values in found)
    }
    if not found:
        return Quality([], {}, [])
    newest = found[-1][1]
    said = [f"{LINES[name][0]}: NDCG@10 {newest[name]:.3f}" for name in LINES if name in newest]
    return Quality(builds, lines, said)


def _measured(one: Generation) -> dict[str, float]:
    regimes = [
        regime
        for regime in one.metrics.get("recipe", {}).values()
        if isinstance(regime, Mapping) and "plain_ndcg_at_10" in regime
    ]
    cases = sum(regime["cases"] for regime in regimes)
    if not cases:
        return {}
    out: dict[str, float] = {}
    for name in ("plain", "item_knn", "popular"):
        if all(f"{name}_ndcg_at_10" in regime for regime in regimes):
            out[name] = sum(r["cases"] * r[f"{name}_ndcg_at_10"] for r in regimes) / cases
    gains = sum(r["cases"] * r["gain_ndcg_at_10"] for r in regimes if r["decided"] == "fitted")
    out["recipe"] = out["plain"] + gains / cases
    ranker = one.metrics.get("ranker", {})
    if "recipe_ndcg_at_10" in ranker:  # measured on other moments: what it gains there, on top
        out["ranker"] = out["recipe"] + ranker["ndcg_at_10"] - ranker["recipe_ndcg_at_10"]
    return out


def quality_options(found: Quality) -> dict[str, Any]:
    """The quality of each build as lines for ECharts."""
    ink = "#8a94a0"
    return {
        "animation": False,
        "grid": {"left": 48, "right": 12, "top": 12, "bottom": 52},
        "legend": {"bottom": 0, "left": 0, "textStyle": {"color": ink}, "type": "scroll"},
        "xAxis": {"type": "category", "data": found.builds, "axisLabel": {"color": ink}},
        "yAxis": {
            "type": "value", "scale": True, "axisLabel": {"color": ink},
            "splitLine": {"lineStyle": {"color": ink, "opacity": 0.15}},
        },
        "series": [
            {
                "type": "line", "name": LINES[name][0], "data": values, "connectNulls": True,
                "lineStyle": {"color": LINES[name][1], "width": 2}, "itemStyle": {"color": LINES[name][1]},
            }
            for name, values in found.lines.items()
        ],
    }  # fmt: skip


def pulse_options(points: list[tuple[float, float]]) -> dict[str, Any]:
    """The actions a minute as a line for ECharts."""
    ink = "#8a94a0"
    return {
        "animation": False,
        "grid": {"left": 44, "right": 12, "top": 12, "bottom": 28},
        "xAxis": {
            "type": "value", "max": 0, "min": -WINDOW_S * 5, "axisLabel": {"color": ink, "formatter": "{value} s"},
            "axisLine": {"onZero": False, "lineStyle": {"color": ink}},
            "splitLine": {"show": False},
        },
        "yAxis": {
            "type": "value", "min": 0, "minInterval": 1, "axisLabel": {"color": ink},
            "axisLine": {"onZero": False, "show": False},
            "splitLine": {"lineStyle": {"color": ink, "opacity": 0.15}},
        },
        "series": [
            {
                "type": "line", "data": [list(p) for p in points], "showSymbol": False,
                "lineStyle": {"color": "#0d9488", "width": 2}, "areaStyle": {"color": "#0d9488", "opacity": 0.12},
            }
        ],
    }  # fmt: skip
