"""HIT@3 per head and AUC within requests, against lists and loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from wayline.errors import InputError
from wayline.evaluation.hits import grouped_auc, hits, per_user, places

ROWS = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans()),
    min_size=1,
    max_size=40,
)


def columns(rows: list[tuple[int, float, bool]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    request, score, label = zip(*rows, strict=True)
    return np.array(score), np.array(label, float), np.array(request)


def test_three_of_a_request_are_counted_per_head() -> None:
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.1, 0.2])
    label = np.array([[1, 0], [0, 1], [1, 0], [1, 0], [0, 0], [1, 1]])
    counted = hits(score, label, np.array([0, 0, 0, 0, 1, 1]))
    assert counted.tolist() == [[2.0, 1.0], [1.0, 1.0]]


def test_a_constant_score_earns_what_chance_earns() -> None:
    label = np.array([1, 0, 0, 0, 0, 0])
    assert hits(np.zeros(6), label, np.zeros(6, int))[0] == pytest.approx(3 / 6)
    assert grouped_auc(np.zeros(6), label, np.zeros(6, int)).tolist() == [0.5]


def test_hit_at_3_is_summed_over_a_persons_requests_and_averaged_over_people() -> None:
    beta = np.array([[1.0, 0.0], [2.0, 1.0], [0.0, 0.0]])
    assert per_user(beta, np.array([5, 5, 8])).mean(axis=0).tolist() == [1.5, 0.5]


def test_a_request_of_one_class_has_no_auc() -> None:
    found = grouped_auc([0.1, 0.2, 0.3], [1, 1, 0], np.array([0, 0, 1]))
    assert np.isnan(found).all()


def test_a_score_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(InputError, match="not a number"):
        hits([0.1, np.nan], [1, 0], np.zeros(2, int))
    with pytest.raises(InputError, match="one a candidate"):
        places([0.1], np.zeros(2, int))


@given(ROWS)
def test_hits_agree_with_all_orders_of_ties(rows: list[tuple[int, float, bool]]) -> None:
    score, label, request = columns(rows)
    counted = hits(score, label, request)
    for r in range(request.max() + 1):
        mine = np.flatnonzero(request == r)
        expected = 0.0
        for i in mine:
            above = (score[mine] > score[i]).sum()
            level = (score[mine] == score[i]).sum()
            seats = min(max(3 - above, 0), level)
            expected += label[i] * seats / level
        assert counted[r] == pytest.approx(expected)


@given(ROWS)
def test_auc_agrees_with_scikit_learn(rows: list[tuple[int, float, bool]]) -> None:
    score, label, request = columns(rows)
    found = grouped_auc(score, label, request)
    for r in range(request.max() + 1):
        mine = request == r
        if 0 < label[mine].sum() < mine.sum():
            assert found[r] == pytest.approx(roc_auc_score(label[mine], score[mine]))
        else:
            assert np.isnan(found[r])


@given(ROWS)
def test_the_order_of_rows_does_not_matter(rows: list[tuple[int, float, bool]]) -> None:
    score, label, request = columns(rows)
    back = slice(None, None, -1)
    np.testing.assert_allclose(
        hits(score, label, request), hits(score[back], label[back], request[back])
    )
