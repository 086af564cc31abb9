"""The person's own controls: rename, mute, boost or reset an interest.

They are actions in the log, so they outlive every build, can be exported and forgotten, and hold as of any moment.

A control names the interest's id and its medoid item. It holds for the interest of that id; where none has it any more
(a workspace rebuilt from its log alone), for the interest that the medoid is now a member of.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wayline.errors import InputError, shorten
from wayline.interests.importance import Float64Vector
from wayline.interests.interests import InterestSet
from wayline.schema import CONTROL_PREFIX, BoolVector, IntVector

RENAME, MUTE, UNMUTE, BOOST, RESET = (
    CONTROL_PREFIX + verb for verb in ("rename", "mute", "unmute", "boost", "reset")
)
CONTROLS = (RENAME, MUTE, UNMUTE, BOOST, RESET)
LEAST_BOOST, MOST_BOOST = 0.1, 10.0
MOST_LABEL = 100  # characters


@dataclass(frozen=True, slots=True)
class Control:
    """One control as it stands in the log.

    Attributes
    ----------
    action : str
        One of ``CONTROLS``.
    interest_id : str
    item_idx : int
        The interest's medoid when the control was used.
    ts_ms : int
    text : str
        The new name (empty: the automatic one again), or the boost as a number.
    """

    action: str
    interest_id: str
    item_idx: int
    ts_ms: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a person's controls say about each of their interests, shape [Q] each.

    Attributes
    ----------
    name : list of str
        The person's own name, empty where they gave none.
    muted : bool array
    boost : float64 array
        1 where nothing was said.
    reset_ts_ms : int64 array
        Feedback before this does not count; 0 for never.
    """

    name: list[str]
    muted: BoolVector
    boost: Float64Vector
    reset_ts_ms: IntVector


def settle(ids: list[str], interests: InterestSet, controls: Sequence[Control]) -> Standing:
    """Apply controls in order to the interests as they are now.

    Parameters
    ----------
    ids : list of str, shape [Q]
    interests : InterestSet
    controls : sequence of Control
        Oldest first; the later word counts. A reset takes name, mute and boost back.
    """
    size = len(interests)
    standing = Standing(
        [""] * size, np.zeros(size, np.bool_), np.ones(size), np.zeros(size, np.int64)
    )
    for control in controls:
        q = _interest_of(control, ids, interests)
        if q is None:
            continue
        if control.action == RENAME:
            standing.name[q] = control.text
        elif control.action in (MUTE, UNMUTE):
            standing.muted[q] = control.action == MUTE
        elif control.action == BOOST:
            standing.boost[q] = boost_of(control.text)
        elif control.action == RESET:
            standing.name[q], standing.muted[q], standing.boost[q] = "", False, 1.0
            standing.reset_ts_ms[q] = control.ts_ms
    return standing


def boost_of(text: str) -> float:
    """Read a boost; 1 for what is no number (anybody may send an action of that name)."""
    try:
        value = float(text)
    except ValueError:
        return 1.0
    return min(max(value, LEAST_BOOST), MOST_BOOST) if np.isfinite(value) else 1.0


def _interest_of(control: Control, ids: list[str], interests: InterestSet) -> int | None:
    if control.interest_id in ids:
        return ids.index(control.interest_id)
    at = np.flatnonzero(interests.member_item_idx == control.item_idx)
    if not len(at):
        return None
    return int(np.searchsorted(interests.member_offsets, at[0], side="right")) - 1


def control_rows(
    user_id: str,
    interest_id: str,
    medoid_id: str,
    ts_ms: int,
    *,
    label: str | None,
    muted: bool | None,
    boost: float | None,
    reset: bool,
) -> list[dict[str, object]]:
    """Write what a person says about an interest as actions for the log.

    Raises
    ------
    InputError
        If nothing is said, or a value is not one.
    """
    said: list[tuple[str, str]] = []
    if reset:
        said.append((RESET, ""))
    if label is not None:
        said.append((RENAME, _checked_label(label)))
    if muted is not None:
        if not isinstance(muted, bool):
            raise InputError(f"Got muted={shorten(muted)}, expected true or false.", field="muted")
        said.append((MUTE if muted else UNMUTE, ""))
    if boost is not None:
        said.append((BOOST, f"{_checked_boost(boost):g}"))
    if not said:
        raise InputError("Got nothing to change, expected any of label, muted, boost or reset.")
    return [
        {
            "user_id": user_id,
            "item_id": medoid_id,
            "action": action,
            "ts": ts_ms,
            "board": interest_id,
            "query": text or None,
            "action_id": secrets.token_hex(16),  # the same word twice at one time is two words
        }
        for action, text in said
    ]


def _checked_label(label: object) -> str:
    if not isinstance(label, str) or len(label) > MOST_LABEL or not label.isprintable():
        raise InputError(
            f"Got label={shorten(label)}, expected a line of at most {MOST_LABEL} characters; an "
            "empty one brings the automatic name back.",
            field="label",
        )
    return label.strip()


def _checked_boost(boost: object) -> float:
    number = isinstance(boost, (int, float)) and not isinstance(boost, bool)
    if not number or not LEAST_BOOST <= boost <= MOST_BOOST:  # type: ignore[operator]  # a number by now
        raise InputError(
            f"Got boost={shorten(boost)}, expected a number from {LEAST_BOOST:g} (less of it) over "
            f"1 (as it is) to {MOST_BOOST:g} (more of it).",
            field="boost",
        )
    return float(boost)  # type: ignore[arg-type]  # same
