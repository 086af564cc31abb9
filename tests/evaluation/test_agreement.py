"""How far two markers agree: known answers, scikit-learn and scipy beside ours, and people's marks from a file."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from wayline.errors import FileProblemError, UnknownColumnsError
from wayline.evaluation.agreement import agreement, pair_up, quadratic_kappa, read_marks, spearman
from wayline.evaluation.judge import Mark

LEVELS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=40)


def table_of(pairs: list[tuple[int, int]]) -> np.ndarray:
    table = np.zeros((5, 5))
    for a, b in pairs:
        table[a - 1, b - 1] += 1
    return table


@given(LEVELS)
def test_kappa_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    a, b = zip(*pairs, strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where it divides by nothing
        reference = cohen_kappa_score(a, b, labels=[1, 2, 3, 4, 5], weights="quadratic")
    ours = quadratic_kappa(table_of(pairs))
    if a == b and len(set(a)) == 1:
        assert math.isnan(ours)
    else:
        assert ours == pytest.approx(reference, abs=1e-12)


@given(LEVELS)
def test_spearman_is_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    a, b = zip(*pairs, strict=True)
    ours = spearman(table_of(pairs))
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert math.isnan(ours)
    else:
        assert ours == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)


def test_who_agrees_throughout_has_ones() -> None:
    found = agreement([(f"u{n}", n % 5 + 1, n % 5 + 1) for n in range(20)])
    assert (found.pairs, found.people) == (20, 20)
    for interval in (found.exact, found.within_one, found.kappa, found.spearman):
        assert (interval.value, interval.low, interval.high) == pytest.approx((1, 1, 1))


def test_who_marks_the_other_way_round_is_worse_than_chance() -> None:
    found = agreement([(f"u{n}", n % 5 + 1, 5 - n % 5) for n in range(20)])
    assert found.kappa.value == pytest.approx(-1)
    assert found.spearman.value == pytest.approx(-1)
    assert found.exact.value == pytest.approx(0.2)


def test_where_nothing_can_be_told_it_is_not_a_number() -> None:
    found = agreement([("ann", 3, 3), ("bob", 3, 3)])
    assert found.exact.value == 1
    assert math.isnan(found.kappa.value)
    assert math.isnan(agreement([]).exact.value)


@settings(max_examples=10)
@given(LEVELS, st.integers(0, 3))
def test_the_interval_holds_shares_between_nothing_and_all(
    pairs: list[tuple[int, int]], seed: int
) -> None:
    found = agreement([(f"u{n % 7}", a, b) for n, (a, b) in enumerate(pairs)], seed=seed)
    for interval in (found.exact, found.within_one):
        assert -1e-9 <= interval.low <= interval.value + 1e-9 <= interval.high + 2e-9 <= 1 + 3e-9


def test_the_interval_is_over_people_not_over_journeys() -> None:
    one_person = agreement([("ann", n % 5 + 1, 1) for n in range(50)])
    many = agreement([(f"u{n}", n % 5 + 1, 1) for n in range(50)])
    assert one_person.exact.low == one_person.exact.high  # one person tells nothing of others
    assert many.exact.low < many.exact.value < many.exact.high


def test_marks_are_read_and_bad_rows_are_told_one_line_each(tmp_path: Path) -> None:
    path = tmp_path / "marks.csv"
    path.write_text(
        "\ufefflevel,journey,user_id,remark\n"
        '5,Baby room,ann,"fits,\nall of it"\n'
        "0,Garden,ann,\n"
        "four,Garden,ann,\n"
        "3,,ann,\n"
        "3,Garden,,\n"
        "2,baby ROOM,ann,\n"
        "4,j7,bob\n"
        "4\n",
        "utf-8",
    )
    found = read_marks(path)
    assert found.levels == {("ann", "baby room"): 5, ("bob", "j7"): 4}
    assert found.problems == [
        "row 4: got level '0', expected 1, 2, 3, 4 or 5.",
        "row 5: got level 'four', expected 1, 2, 3, 4 or 5.",
        "row 6: no journey: fill it in.",
        "row 7: no user_id: fill it in.",
        "row 8: 'baby ROOM' was marked before: keep one of the rows.",
        "row 10: no user_id: fill it in.",
    ]


def test_a_mark_is_found_by_the_journeys_id_or_name(tmp_path: Path) -> None:
    path = tmp_path / "marks.csv"
    path.write_text("user_id,journey,level\nann,baby room,5\nann,j2,1\nann,gone,1\nbob,j1,4\n")
    marks = [
        Mark("ann", "j1", "Baby room", 4),
        Mark("ann", "j2", "Garden", 2),
        Mark("ann", "j3", "Lamps", 3),
    ]
    assert pair_up(marks, read_marks(path)) == [("ann", 4, 5), ("ann", 2, 1)]


def test_a_file_that_cannot_be_used_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match=r"gone\.csv cannot be read"):
        read_marks(tmp_path / "gone.csv")
    path = tmp_path / "marks.csv"
    path.write_text("user,journey,level\n")
    with pytest.raises(UnknownColumnsError, match="add user_id"):
        read_marks(path)
    path.write_text("")
    with pytest.raises(UnknownColumnsError, match=r"\(none\)"):
        read_marks(path)
    path.write_bytes(b"user_id,journey,level\n\xff\xfe,a,1\n")
    with pytest.raises(FileProblemError, match="UTF-8"):
        read_marks(path)
