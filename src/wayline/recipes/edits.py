"""Edits: settings of a feed by the names that they have in ``wayline.toml``, checked, and laid over the settings."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from wayline.config import SOURCES, Config
from wayline.errors import ConfigError, shorten
from wayline.retrieval.recipe import REGIMES
from wayline.retrieval.signals import SIGNALS

WEIGHTS, QUOTAS, FLOORS, UTILITY = "recipe.", "retrieval.most.", "feed.floors.", "feed.weights."
MOST_EDITS = 500


@dataclass(frozen=True, slots=True)
class Range:
    """What values a setting may have, the ends included."""

    least: float
    most: float
    whole: bool = False

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} from {self.least:g} to {self.most:g}"


SINGLE = {
    "feed.diversity": Range(0, 1),
    "feed.max_per_interest": Range(0, 10, whole=True),
    "feed.max_per_category": Range(0, 10, whole=True),
    "feed.fatigue": Range(0, 100),
    "interests.sample": Range(1, 32, whole=True),
}
FAMILIES = {
    WEIGHTS: Range(-5, 5),
    QUOTAS: Range(0, 1000, whole=True),
    FLOORS: Range(0, 10, whole=True),
    UTILITY: Range(-100, 100),
}


def range_of(name: str) -> Range | None:
    """Give what values an edit may have; None for a name that is none.

    >>> str(range_of("feed.diversity")), range_of("feed.colour")
    ('a number from 0 to 1', None)
    """
    if name in SINGLE:
        return SINGLE[name]
    for family, allowed in FAMILIES.items():
        if name.startswith(family) and _belongs(family, name.removeprefix(family)):
            return allowed
    return None


def _belongs(family: str, rest: str) -> bool:
    if family in (QUOTAS, FLOORS):
        return rest in SOURCES
    if family == UTILITY:
        return bool(rest) and len(rest) <= 100
    regime, _, signal = rest.partition(".")
    return regime in REGIMES and signal in SIGNALS


def check_edits(edits: Mapping[str, Any]) -> dict[str, float]:
    """Give edits as numbers, sorted by name.

    Raises
    ------
    ConfigError
        With the name of the first that is unknown, no number, or out of range.
    """
    if not isinstance(edits, Mapping):
        raise ConfigError(f"Got edits {shorten(edits)}, expected settings by name, a number each.")
    if len(edits) > MOST_EDITS:
        raise ConfigError(f"Got {len(edits):,} edits, expected at most {MOST_EDITS}.")
    return {str(name): _checked(name, edits[name]) for name in sorted(edits, key=str)}


def _checked(name: object, value: Any) -> float:
    allowed = range_of(name) if isinstance(name, str) else None
    if allowed is None:
        raise ConfigError(_unknown(str(name)), field=str(name)[:100])
    number = (
        isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    )
    if (
        not number
        or not allowed.least <= value <= allowed.most
        or (allowed.whole and value != int(value))
    ):
        raise ConfigError(f"Got {name} = {shorten(value)}, expected {allowed}.", field=str(name))
    return float(value)


def _unknown(name: str) -> str:
    weights = [f"{WEIGHTS}{regime}.{signal}" for regime in REGIMES for signal in SIGNALS]
    sources = [family + source for family in (QUOTAS, FLOORS) for source in SOURCES]
    known = [*SINGLE, *weights, *sources]
    near = difflib.get_close_matches(name, known, n=1)
    listed = ", ".join(SINGLE)
    return (
        f"Got the edit {shorten(name)}, expected one of {listed}, {WEIGHTS}<{'|'.join(REGIMES)}>.<signal>, "
        f"{QUOTAS}<source>, {FLOORS}<source> or {UTILITY}<action>"
        + (f": did you mean {near[0]}?" if near else ".")
    )


def tuned(config: Config, edits: Mapping[str, float]) -> Config:
    """Give the settings with checked edits laid over them."""
    feed, interests = config.feed, config.interests
    retrieval, recipe = config.retrieval, config.recipe
    if "feed.diversity" in edits:
        feed = replace(feed, diversity=edits["feed.diversity"])
    if "feed.fatigue" in edits:
        feed = replace(feed, fatigue=edits["feed.fatigue"])
    if "feed.max_per_interest" in edits:
        feed = replace(feed, max_per_interest=int(edits["feed.max_per_interest"]))
    if "feed.max_per_category" in edits:
        feed = replace(feed, max_per_category=int(edits["feed.max_per_category"]))
    if "interests.sample" in edits:
        interests = replace(interests, sample=int(edits["interests.sample"]))
    of = {
        family: {k.removeprefix(family): v for k, v in edits.items() if k.startswith(family)}
        for family in FAMILIES
    }
    return replace(
        config,
        feed=replace(
            feed,
            weights={**feed.weights, **of[UTILITY]},
            floors={**feed.floors, **of[FLOORS]},
        ),
        interests=interests,
        retrieval=replace(retrieval, most={**retrieval.most, **of[QUOTAS]}),
        recipe=replace(recipe, pins=_over(recipe.pins, of[WEIGHTS])),
    )


def _over(pins: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    """Put weights of one regime behind the settings' pins: the later wins, also over one for every regime."""
    return {**{name: pin for name, pin in pins.items() if name not in weights}, **weights}
