"""What speaks for journeys: dislikes take away, age counts against the newest action, searches count more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planted_journeys import DAY, START, topics_world
from wayline.journeys.evidence import SOURCE_WEIGHT, Evidence, Words, gather
from wayline.journeys.keywords import BOARD, QUERY

KEYWORDS = topics_world()


def gathered(
    rows: list[tuple[int, float, float]], words: Words | None = None, pause_days: float = 0.0
) -> Evidence:
    """Evidence of ``(item, day, worth)``."""
    rows = sorted(rows, key=lambda row: row[1])
    ts = np.array([START + round(day * DAY) for _, day, _ in rows], np.int64)
    now = max(int(ts.max(initial=START)), max((words or Words()).ts_ms, default=0))
    return gather(
        KEYWORDS, np.array([item for item, _, _ in rows], np.int64), ts,
        np.array([worth for _, _, worth in rows], np.float32), words or Words(),
        now_ts_ms=now + round(pause_days * DAY), half_life_days=90,
    )  # fmt: skip


def test_an_action_weighs_half_after_a_half_life_before_the_newest() -> None:
    found = gathered([(1, 0, 1.0), (2, 90, 1.0)])
    assert found.item_idx.tolist() == [1, 2]
    np.testing.assert_allclose(found.weight, [0.5, 1.0])


def test_a_pause_fades_all_alike_and_changes_no_picture() -> None:
    rows = [(1, 0, 1.0), (2, 60, 0.5), (1, 70, 0.2)]
    now, later = gathered(rows), gathered(rows, pause_days=90)
    np.testing.assert_array_equal(now.weight, later.weight)
    assert (now.faded, later.faded) == (1.0, pytest.approx(0.5))


def test_a_dislike_that_outweighs_takes_the_item_away() -> None:
    found = gathered([(1, 0, 1.0), (1, 1, -1.0), (2, 2, 1.0), (3, 3, -1.0)])
    assert found.item_idx.tolist() == [2]
    assert found.act_row.tolist() == [0]
    kept = gathered([(1, 0, 1.0), (1, 1, -0.2)])
    assert kept.item_idx.tolist() == [1]
    assert kept.actions.tolist() == [1]  # the dislike is no engagement
    assert kept.weight[0] == pytest.approx(0.5 ** (1 / 90) - 0.2, abs=1e-6)


def test_items_that_came_after_the_build_are_no_evidence_yet() -> None:
    assert gathered([(10_000, 0, 1.0), (1, 1, 1.0)]).item_idx.tolist() == [1]
    assert len(gathered([(10_000, 0, 1.0)])) == 0


def test_a_search_counts_as_the_keywords_in_it() -> None:
    words = Words(["garden lamp and tea cup", "Wool Scarfs", "nothing known"], [QUERY, BOARD, QUERY],
                  [START, START + DAY, START + DAY])  # fmt: skip
    found = gathered([(0, 1, 1.0)], words)
    names = [KEYWORDS.texts[k] for k in found.keyword if k >= 0]
    assert names == ["garden lamp", "tea cup", "wool scarf"]
    assert found.item_idx.tolist() == [0, -1, -1, -1]
    assert found.weight[3] == pytest.approx(SOURCE_WEIGHT[BOARD])
    assert found.weight[1] == pytest.approx(SOURCE_WEIGHT[QUERY] * 0.5 ** (1 / 90))


def test_nothing_done_is_nothing() -> None:
    assert len(gathered([])) == 0
    assert len(gathered([(1, 0, 0.0)])) == 0


ROWS = st.lists(
    st.tuples(st.integers(0, 130), st.integers(0, 500), st.sampled_from([-1.0, 0.2, 1.0])),
    max_size=30,
)


@given(ROWS, st.randoms(use_true_random=False))
def test_weights_are_positive_times_ascend_and_words_may_come_in_any_order(
    rows: list[tuple[int, float, float]], random: object
) -> None:
    texts = ["garden lamp", "tea cup", "garden lamp"]
    times = [START + 9 * DAY, START + 3 * DAY, START]
    order = [0, 1, 2]
    random.shuffle(order)  # type: ignore[attr-defined]
    one = gathered(rows, Words(texts, [QUERY] * 3, times))
    other = gathered(rows, Words([texts[n] for n in order], [QUERY] * 3, [times[n] for n in order]))
    for name in ("item_idx", "keyword", "weight", "act_row", "act_ts_ms", "actions"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.weight > 0).all()
    assert (np.diff(one.act_ts_ms) >= 0).all()
    assert one.actions.sum() == len(one.act_row)
    assert (one.actions > 0).all()
