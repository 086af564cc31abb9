"""What a trained ranker is and how it came about: ``ranker.json`` and the model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from wayline.ranking.examples.heads import Heads


@dataclass(frozen=True, slots=True)
class Description:
    """What a ranker is and how it came about, as it stands in ``ranker.json``.

    Attributes
    ----------
    model : mapping
        A ``RankerConfig`` as plain values.
    heads : Heads
    features : tuple of str
        Names in the order the ranker reads them.
    action_names : tuple of str
        ``action_key - 1`` is the index; later names are left out of its sequences.
    tokens : int
        S, how many it reads for a candidate.
    places : tuple of int
        How many of them of each part, where they are selected (``TokenShares``); empty where it reads the newest.
    scale, shift : tuple of float, length H
        Calibration: ``P = sigmoid(scale * logit + shift)``.
    card : mapping
        Data window, settings and metrics.
    regimes : mapping of str to float
        Where it beats the recipe, and which share of the order it has there (``sharing.py``); elsewhere the recipe's
        order stands.
    """

    model: Mapping[str, Any]
    heads: Heads
    features: tuple[str, ...]
    action_names: tuple[str, ...]
    tokens: int
    scale: tuple[float, ...]
    shift: tuple[float, ...]
    card: Mapping[str, Any]
    regimes: Mapping[str, float] = field(default_factory=dict)
    places: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        heads = {name: _plain(value) for name, value in asdict(self.heads).items()}
        return {**{k: getattr(self, k) for k in self.__slots__}, "heads": heads}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Description:
        """Read what ``to_dict`` wrote, also through JSON."""
        heads = data["heads"]
        return cls(
            data["model"],
            Heads(
                tuple(heads["names"]),
                np.array(heads["action_key"], np.int64),
                np.array(heads["window_ms"], np.int64),
                np.array(heads["worth"], np.float32),
                np.array(heads["weight"], np.float32),
            ),
            tuple(data["features"]),
            tuple(data["action_names"]),
            int(data["tokens"]),
            tuple(data["scale"]),
            tuple(data["shift"]),
            data["card"],
            dict(data["regimes"]),
            tuple(data.get("places", ())),  # an older one reads the newest
        )


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def card_text(description: Description) -> str:
    """The model card, for people."""
    card = description.card
    lines = ["# Ranker", "", f"Heads: {', '.join(description.heads.names)}.", ""]
    for title, values in card.items():
        lines.append(f"## {title.replace('_', ' ')}")
        lines.append("")
        if isinstance(values, Mapping):
            lines += [f"- {name}: {value}" for name, value in values.items()]
        else:
            lines.append(str(values))
        lines.append("")
    return "\n".join(lines)


def with_utility(description: Description, utility: Mapping[str, float]) -> Description:
    """Give a description with other weights of some heads."""
    heads = description.heads
    pairs = zip(heads.names, heads.weight.tolist(), strict=True)
    weight = np.array([utility.get(name, own) for name, own in pairs], np.float32)
    return replace(description, heads=replace(heads, weight=weight))
