"""The person's own controls: rename, mute, boost or reset an interest or a journey.

They are actions in the log, so they outlive every build, can be exported and forgotten, and hold as of any moment.

A control names the interest's id and its medoid item (a journey's id and its first item). It holds for the interest of
that id; where none has it any more (a workspace rebuilt from its log alone), for the one that the item is now in.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wayline.errors import InputError, shorten
from wayline.interests.importance import Float64Vector
from wayline.schema import BoolVector, IntVector

INTEREST, JOURNEY = "interest", "journey"
VERBS = RENAME, MUTE, UNMUTE, BOOST, RESET = ("rename", "mute", "unmute", "boost", "reset")
CONTROLS = tuple(f"{subject}.{verb}" for subject in (INTEREST, JOURNEY) for verb in VERBS)
LEAST_BOOST, MOST_BOOST = 0.1, 10.0
MOST_LABEL = 100  # characters


@dataclass(frozen=True, slots=True)
class Control:
    """One control as it stands in the log.

    Attributes
    ----------
    verb : str
        One of ``VERBS``.
    subject_id : str
        Of the interest or journey.
    item_idx : int
        The item that spoke for it when the control was used.
    ts_ms : int
    text : str
        The new name (empty: the automatic one again), or the boost as a number.
    """

    verb: str
    subject_id: str
    item_idx: int
    ts_ms: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a person's controls say about each of their interests or journeys, shape [Q] each.

    Attributes
    ----------
    name : list of str
        The person's own name, empty where they gave none.
    muted : bool array
    boost : float64 array
        1 where nothing was said.
    reset_ts_ms : int64 array
        Feedback before this does not count; 0 for never.
    settled : bool array
        They said themselves whether it is muted.
    """

    name: list[str]
    muted: BoolVector
    boost: Float64Vector
    reset_ts_ms: IntVector
    settled: BoolVector


def settle(ids: list[str], members: Sequence[IntVector], controls: Sequence[Control]) -> Standing:
    """Apply controls in order to the interests or journeys as they are now.

    Parameters
    ----------
    ids : list of str, shape [Q]
    members : sequence of int64 arrays, Q
        Item positions of each.
    controls : sequence of Control
        Oldest first; the later word counts. A reset takes name, mute and boost back.
    """
    size = len(ids)
    standing = Standing(
        [""] * size,
        np.zeros(size, np.bool_),
        np.ones(size),
        np.zeros(size, np.int64),
        np.zeros(size, np.bool_),
    )
    for control in controls:
        q = _subject_of(control, ids, members)
        if q is None:
            continue
        if control.verb == RENAME:
            standing.name[q] = control.text
        elif control.verb in (MUTE, UNMUTE):
            standing.muted[q] = control.verb == MUTE
            standing.settled[q] = True
        elif control.verb == BOOST:
            standing.boost[q] = boost_of(control.text)
        elif control.verb == RESET:
            standing.name[q], standing.muted[q], standing.boost[q] = "", False, 1.0
            standing.reset_ts_ms[q], standing.settled[q] = control.ts_ms, False
    return standing


def boost_of(text: str) -> float:
    """Read a boost; 1 for what is no number (anybody may send an action of that name)."""
    try:
        value = float(text)
    except ValueError:
        return 1.0
    return min(max(value, LEAST_BOOST), MOST_BOOST) if np.isfinite(value) else 1.0


def _subject_of(control: Control, ids: list[str], members: Sequence[IntVector]) -> int | None:
    if control.subject_id in ids:
        return ids.index(control.subject_id)
    return next((q for q, own in enumerate(members) if (own == control.item_idx).any()), None)


def control_rows(
    subject: str,
    user_id: str,
    subject_id: str,
    item_id: str,
    ts_ms: int,
    *,
    label: str | None,
    muted: bool | None,
    boost: float | None,
    reset: bool,
) -> list[dict[str, object]]:
    """Write what a person says about an interest or journey (``subject``) as actions for the log.

    Raises
    ------
    InputError
        If nothing is said, or a value is not one.
    """
    word = "label" if subject == INTEREST else "name"
    said: list[tuple[str, str]] = []
    if reset:
        said.append((RESET, ""))
    if label is not None:
        said.append((RENAME, _checked_label(label, word)))
    if muted is not None:
        if not isinstance(muted, bool):
            raise InputError(f"Got muted={shorten(muted)}, expected true or false.", field="muted")
        said.append((MUTE if muted else UNMUTE, ""))
    if boost is not None:
        said.append((BOOST, f"{_checked_boost(boost):g}"))
    if not said:
        raise InputError(f"Got nothing to change, expected any of {word}, muted, boost or reset.")
    return [
        {
            "user_id": user_id,
            "item_id": item_id,
            "action": f"{subject}.{verb}",
            "ts": ts_ms,
            "board": subject_id,
            "query": text or None,
            "action_id": secrets.token_hex(16),  # the same word twice at one time is two words
        }
        for verb, text in said
    ]


def _checked_label(label: object, word: str) -> str:
    if not isinstance(label, str) or len(label) > MOST_LABEL or not label.isprintable():
        raise InputError(
            f"Got {word}={shorten(label)}, expected a line of at most {MOST_LABEL} characters; an "
            "empty one brings the automatic name back.",
            field=word,
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
