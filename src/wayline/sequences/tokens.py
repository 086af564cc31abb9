"""Tokens: a person's history as models read it, sixteen bytes each.

What Pinterest writes down of an action (TransAct V2, section "sequences"): when, on what, a multi-hot of what was done
(several actions on one item become one token), and where. Item vectors are not in the token but gathered from the
generation's table when it is read, so that a token never goes stale.

Three sequences are read off the same log: *lifelong* (explicit actions, up to ``sequences.lifelong``, two years),
*real-time* (the newest ``sequences.realtime`` of them) and *impression* (shown, not acted on).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wayline.clock import DAY_MS
from wayline.config import SequencesConfig
from wayline.schema import CONTROL_PREFIXES, ImpressionColumns, IntVector
from wayline.sequences import _kernels
from wayline.sequences.person import ActionVectors

TOKEN = np.dtype(
    [("item_key", "<u4"), ("ts_ms", "<i8"), ("actions", "<u2"), ("surface", "u1"), ("count", "u1")]
)
"""``actions`` is a bit mask (see ``ActionBits``), ``surface`` a surface_key (0: unknown, or beyond 255), ``count`` how
many actions the token stands for (255: or more; 0: an impression)."""

Tokens = npt.NDArray[np.void]
"""Shape [S], dtype ``TOKEN``, oldest first."""

NAMED_BITS = 15
OTHER_BIT = 1 << NAMED_BITS
MAX_SURFACE = 255


class ActionBits:
    """Which bit each action sets: the first 15 names in the store one each, all later ones the last bit together.

    Keys are given once and never reused, so a bit means the same for as long as the workspace lives. A person's
    controls of their interests are no actions on an item and set none.

    Parameters
    ----------
    action_names : sequence of str
        ``action_key - 1`` is the index.
    """

    def __init__(self, action_names: Sequence[str]) -> None:
        bits = [
            0 if name.startswith(CONTROL_PREFIXES) else min(1 << n, OTHER_BIT)
            for n, name in enumerate(action_names)
        ]
        self._by_key = np.array([0, *bits], np.uint16)

    def __len__(self) -> int:
        return len(self._by_key) - 1

    def of(self, action_key: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
        """Give the bits of each action, shape [M]; a name that came later than these sets the last one."""
        late = action_key >= len(self._by_key)
        bits = self._by_key[np.where(late, 0, action_key)]
        bits[late] = OTHER_BIT
        return bits

    def names(self, mask: int, action_names: Sequence[str]) -> list[str]:
        """Name the actions of a mask; "other" for those that share the last bit."""
        named = [
            name
            for name, bit in zip(action_names, self._by_key[1:].tolist(), strict=False)
            if bit & mask & ~OTHER_BIT
        ]
        return [*named, "other"] if mask & OTHER_BIT else named


def collapse(
    actions: ActionVectors,
    bits: ActionBits,
    *,
    collapse_s: float,
    surface_key: IntVector | None = None,
) -> Tokens:
    """Make tokens of actions: those on one item within ``collapse_s`` of the first of them become one, at its time.

    Parameters
    ----------
    actions : ActionVectors
        Oldest first.
    bits : ActionBits
    collapse_s : float
        Seconds; 0 joins only what has the same time.
    surface_key : int64 array, shape [M], optional
        Where each was done; a token has the first that is known.

    Returns
    -------
    array of ``TOKEN``, shape [at most M], oldest first
    """
    found_rows = np.empty(len(actions), np.int32)
    out = np.zeros(len(actions), TOKEN)
    surface = np.zeros(len(actions), np.uint8) if surface_key is None else _surface(surface_key)
    found = _kernels.collapse(
        actions.item_key,
        actions.ts_ms,
        bits.of(actions.action_key),
        surface,
        round(collapse_s * 1000),
        found_rows,
        out["actions"],
        out["surface"],
        out["count"],
    )
    tokens = out[:found]
    tokens["item_key"] = actions.item_key[found_rows[:found]]
    tokens["ts_ms"] = actions.ts_ms[found_rows[:found]]
    return tokens


def lifelong(tokens: Tokens, config: SequencesConfig) -> Tokens:
    """View the newest ``sequences.lifelong`` tokens that are not older than ``lifelong_days`` before the newest."""
    if not len(tokens):
        return tokens
    oldest_ts_ms = int(tokens["ts_ms"][-1]) - round(config.lifelong_days * DAY_MS)
    start = int(np.searchsorted(tokens["ts_ms"], oldest_ts_ms, side="left"))
    return tokens[max(start, len(tokens) - config.lifelong) :]


def realtime(tokens: Tokens, config: SequencesConfig) -> Tokens:
    """View the newest ``sequences.realtime`` tokens."""
    return tokens[max(0, len(tokens) - config.realtime) :]


def impressions(shown: ImpressionColumns, acted: Tokens, config: SequencesConfig) -> Tokens:
    """Make tokens of what was shown and not acted on from then on: the newest ``sequences.impressions``.

    Parameters
    ----------
    shown : ImpressionColumns
        In any order, up to the moment that is asked about (``Store.user_impressions``).
    acted : Tokens
        The person's actions up to the same moment, with or without the request's id.
    config : SequencesConfig

    Returns
    -------
    array of ``TOKEN``, oldest first; an item shown several times stands at each of them
    """
    if not len(shown):
        return np.zeros(0, TOKEN)
    last_acted = dict(zip(acted["item_key"].tolist(), acted["ts_ms"].tolist(), strict=True))
    pairs = zip(shown.item_key.tolist(), shown.ts_ms.tolist(), strict=True)
    ignored = np.array([last_acted.get(item, -1) < ts for item, ts in pairs], np.bool_)
    rows = np.flatnonzero(ignored)
    rows = rows[np.argsort(shown.ts_ms[rows], kind="stable")]
    rows = rows[max(0, len(rows) - config.impressions) :]
    tokens = np.zeros(len(rows), TOKEN)
    tokens["item_key"], tokens["ts_ms"] = shown.item_key[rows], shown.ts_ms[rows]
    tokens["surface"] = _surface(shown.surface_key)[rows]
    return tokens


@dataclass(frozen=True, slots=True)
class TokenSequences:
    """The three sequences of one person at one moment; ``realtime`` is a view of the same tokens as ``lifelong``."""

    lifelong: Tokens
    realtime: Tokens
    impression: Tokens


def token_sequences(
    actions: ActionVectors,
    shown: ImpressionColumns,
    bits: ActionBits,
    config: SequencesConfig,
    *,
    surface_key: IntVector | None = None,
) -> TokenSequences:
    """Make the three sequences of what a person did and was shown, both up to the same moment; see ``collapse``."""
    tokens = collapse(actions, bits, collapse_s=config.collapse_s, surface_key=surface_key)
    return TokenSequences(
        lifelong(tokens, config), realtime(tokens, config), impressions(shown, tokens, config)
    )


def _surface(surface_key: IntVector) -> npt.NDArray[np.uint8]:
    return np.where(surface_key <= MAX_SURFACE, surface_key, 0).astype(np.uint8)
