from __future__ import annotations

import numpy as np

from wayline.embeddings.near_duplicates import near_duplicates

NEAR = np.array([[1, 0], [0.9999, 0.014], [0, 1], [1, 0]], dtype=np.float32)
KEYS = np.array([10, 20, 30, 40])


def test_the_most_engaged_of_equal_items_stays() -> None:
    titles = ["Red Mug", "red mug!", "red mug", "Spade"]
    left = near_duplicates(NEAR, KEYS, titles, np.array([5, 9, 1, 2], np.float32))
    assert left.tolist() == [10]


def test_equal_engagement_keeps_the_smaller_key() -> None:
    assert near_duplicates(NEAR, KEYS, ["mug"] * 4, np.zeros(4, np.float32)).tolist() == [20, 40]


def test_the_same_title_with_another_vector_stays() -> None:
    titles = ["mug", "x", "mug", "y"]
    assert near_duplicates(NEAR, KEYS, titles, np.zeros(4, np.float32)).tolist() == []


def test_items_without_a_title_are_never_dropped() -> None:
    vectors = np.tile(NEAR[:1], (4, 1))
    titles = [None, "", "!!", None]
    assert near_duplicates(vectors, KEYS, titles, np.zeros(4, np.float32)).tolist() == []


def test_an_empty_catalogue_has_no_duplicates() -> None:
    none = np.empty(0)
    assert near_duplicates(none.reshape(0, 2), none, [], none).tolist() == []
