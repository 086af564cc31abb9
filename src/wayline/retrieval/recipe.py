"""The recipe: which signals count, how much, and when. Readable data, fitted to the workspace's own log or plain.

A person in the middle of a visit wants what goes with what they just touched; a person who comes back wants what
suits them as a whole. So a recipe holds one set of weights for each *regime*, told apart by the time since the
person's newest action.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wayline.clock import HOUR_MS
from wayline.errors import ConfigError
from wayline.retrieval.signals import SIGNALS

REGIMES = ("visit", "return", "cold")
VISIT_MS = HOUR_MS  # a later request is a return; chosen, not published

# What every log gets where its own says nothing surer: a middle course between the development sets
# (docs/experiments.md).
PLAIN: dict[str, dict[str, float]] = {
    "visit": {
        "related.last": 0.1,
        "related.last_3": 0.1,
        "related.last_30": 0.1,
        "next.last": 0.1,
        "soon.last_5": 0.1,
        "content.last": 0.3,
        "content.last_5": 0.3,
        "trending.7d": 0.2,
    },
    "return": {
        "related.all": 0.2,
        "related.days_90": 0.1,
        "soon.last_20": 0.1,
        "content.last_5": 0.2,
        "content.all": 0.2,
        "trending.7d": 0.2,
        "trending.30d": 0.2,
    },
    "cold": {"trending.2d": 0.1, "trending.30d": 0.1},
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Weights by regime and signal, and how they came about.

    Attributes
    ----------
    weights : {regime: {signal: weight}}
        The score of an item is the weighted sum of its standardised signals.
    diversity : float
        Strength of the selector, 0 to 1.
    report : mapping
        How each regime was decided: cases, validation NDCG@10 of the plain and the fitted weights, interval of the
        difference.
    """

    weights: Mapping[str, Mapping[str, float]]
    diversity: float = 0.1
    report: Mapping[str, Any] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """The signals that any regime uses, in the order of ``SIGNALS``."""
        used = {name for weights in self.weights.values() for name, w in weights.items() if w}
        return tuple(name for name in SIGNALS if name in used)

    def pinned(self, pins: Mapping[str, float]) -> Recipe:
        """Give this recipe with weights that the settings fix: ``{"trending.7d": 0.5}`` or ``{"visit.trending.7d":
        0.5}``.

        Raises
        ------
        ConfigError
            If a pin names no signal.
        """
        weights = {regime: dict(found) for regime, found in self.weights.items()}
        for name, value in pins.items():
            regime, _, rest = name.partition(".")
            regimes, signal = ((regime,), rest) if regime in REGIMES else (REGIMES, name)
            if signal not in SIGNALS:
                near = ", ".join(difflib.get_close_matches(signal, SIGNALS, n=3) or SIGNALS[:3])
                raise ConfigError(
                    f"Got recipe.{name}, expected a signal that recipe.json of a generation names (like {near}), "
                    f"alone or after a regime ({', '.join(REGIMES)}).",
                    field=f"recipe.{name}",
                )
            for key in regimes:
                weights[key][signal] = value
        return replace(self, weights=weights)

    def to_dict(self) -> dict[str, Any]:
        """Give plain data, as it stands in ``recipe.json``."""
        return {
            "weights": {k: dict(v) for k, v in self.weights.items()},
            "diversity": self.diversity,
            "report": dict(self.report),
        }

    def save(self, path: Path) -> None:
        """Write ``recipe.json``."""
        path.write_text(json.dumps(self.to_dict(), indent=2) + "\n", "utf-8")

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read ``recipe.json``."""
        data = json.loads(path.read_text("utf-8"))
        return cls(data["weights"], data["diversity"], data["report"])


def plain_recipe() -> Recipe:
    """The recipe of a log that is too small, or too even, to decide anything."""
    return Recipe(PLAIN, report={regime: {"decided": "plain"} for regime in REGIMES})


def regime_of(history_length: int, newest_ts_ms: int, at_ts_ms: int) -> str:
    """Name the regime of a request.

    >>> regime_of(3, newest_ts_ms=0, at_ts_ms=60_000), regime_of(3, 0, 86_400_000), regime_of(0, 0, 0)
    ('visit', 'return', 'cold')
    """
    if history_length == 0:
        return "cold"
    return "visit" if at_ts_ms - newest_ts_ms < VISIT_MS else "return"
