"""Dials: every setting of a feed that may be edited, with its value now, and who gave it that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wayline.config import SOURCES, Config
from wayline.recipes.edits import FLOORS, QUOTAS, SINGLE, UTILITY, WEIGHTS, Range, range_of
from wayline.retrieval.recipe import REGIMES, Recipe
from wayline.retrieval.signals import SIGNALS

BUILD, SETTINGS, EDITED = "the build", "the settings", "edited"


@dataclass(frozen=True, slots=True)
class Dial:
    """One setting.

    Attributes
    ----------
    name : str
        As in ``wayline.toml``.
    value : float or None
        None: unbounded, or what the action is worth.
    before : float or None
        What it would be without the edits.
    origin : str
        Who gave it its value: "the build", "the settings" (with their defaults) or "edited".
    allowed : Range
    """

    name: str
    value: float | None
    before: float | None
    origin: str
    allowed: Range


def dials(
    built: Recipe, config: Config, edits: Mapping[str, float], heads: Sequence[str] = ()
) -> list[Dial]:
    """Give every dial, those that any regime uses first among the weights.

    Parameters
    ----------
    built : Recipe
        As the build wrote it, without pins.
    config : Config
        Without the edits.
    edits : mapping
        Checked.
    heads : sequence of str
        What a ranker in use foretells.
    """
    out = [_single(name, built, config, edits) for name in SINGLE]
    pinned = built.pinned(config.recipe.pins)
    for regime in REGIMES:
        used = pinned.weights[regime]
        names = sorted(SIGNALS, key=lambda s: (not used.get(s), SIGNALS.index(s)))
        for signal in names:
            before = float(used.get(signal, 0.0))
            is_pinned = signal in config.recipe.pins or f"{regime}.{signal}" in config.recipe.pins
            out.append(_dial(f"{WEIGHTS}{regime}.{signal}", before, is_pinned, edits))
    for source in SOURCES:
        most = config.retrieval.most.get(source)
        out.append(_dial(QUOTAS + source, most, True, edits))
    floors = config.feed.floors
    out += [_dial(FLOORS + one, floors.get(one, 0.0), True, edits) for one in SOURCES]
    for action in dict.fromkeys([*heads, *config.feed.weights]):
        weight = config.feed.weights.get(action, config.actions.get(action))
        out.append(_dial(UTILITY + action, weight, True, edits))
    return out


def _single(name: str, built: Recipe, config: Config, edits: Mapping[str, float]) -> Dial:
    section, _, key = name.partition(".")
    value = float(getattr(getattr(config, section), key))
    if name == "feed.diversity" and value < 0:
        return _dial(name, built.diversity, False, edits)
    return _dial(name, value, True, edits)


def _dial(name: str, before: float | None, by_settings: bool, edits: Mapping[str, float]) -> Dial:
    allowed = range_of(name)
    assert allowed is not None, name
    if name in edits:
        return Dial(name, edits[name], before, EDITED, allowed)
    return Dial(name, before, before, SETTINGS if by_settings else BUILD, allowed)
