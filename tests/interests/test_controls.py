"""What a person says about their own interests."""

from __future__ import annotations

import numpy as np

from wayline.interests.controls import BOOST, MUTE, RENAME, RESET, UNMUTE, Control, boost_of, settle

TWO = [np.array([1, 2]), np.array([5, 6])]
IDS = ["mugs", "lamps"]


def said(verb: str, interest: str, text: str = "", item: int = 1, ts_ms: int = 20) -> Control:
    return Control(verb, interest, item, ts_ms, text)


def test_without_a_word_everything_is_as_it_is() -> None:
    standing = settle(IDS, TWO, [])
    assert standing.name == ["", ""]
    assert not standing.muted.any()
    assert standing.boost.tolist() == [1, 1]
    assert standing.reset_ts_ms.tolist() == [0, 0]


def test_the_later_word_counts() -> None:
    words = [
        said(MUTE, "mugs"),
        said(UNMUTE, "mugs"),
        said(MUTE, "lamps"),
        said(RENAME, "mugs", "Cups"),
    ]
    standing = settle(IDS, TWO, words)
    assert standing.muted.tolist() == [False, True]
    assert standing.name == ["Cups", ""]


def test_a_reset_takes_everything_back_and_says_when() -> None:
    words = [said(MUTE, "mugs"), said(BOOST, "mugs", "3"), said(RESET, "mugs", ts_ms=77)]
    standing = settle(IDS, TWO, words)
    assert not standing.muted[0]
    assert standing.boost[0] == 1
    assert standing.reset_ts_ms[0] == 77


def test_where_the_id_is_gone_the_medoid_finds_the_interest() -> None:
    standing = settle(IDS, TWO, [said(MUTE, "gone", item=6)])
    assert standing.muted.tolist() == [False, True]


def test_a_control_of_nothing_that_is_left_does_nothing() -> None:
    assert not settle(IDS, TWO, [said(MUTE, "gone", item=99)]).muted.any()


def test_a_boost_is_a_number_within_bounds_whatever_was_sent() -> None:
    assert [boost_of(t) for t in ("2.5", "1e9", "-3", "nan", "lots", "")] == [2.5, 10, 0.1, 1, 1, 1]
