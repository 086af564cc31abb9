from __future__ import annotations

import numpy as np

from wayline.embeddings.hybrid import hybrid_vectors, with_predictions
from wayline.embeddings.linear import unit_rows

THEMES, PER_THEME = 5, 40


def two_views(seed: int = 0):
    """Text and graph vectors of the same themes, in two unrelated spaces."""
    rng = np.random.default_rng(seed)
    theme = np.arange(THEMES).repeat(PER_THEME)
    text, graph = (
        unit_rows(
            (rng.normal(size=(THEMES, 16))[theme] + 0.3 * rng.normal(size=(len(theme), 16))).astype(
                np.float32
            )
        )
        for _ in range(2)
    )
    return theme, text, graph


def test_a_cold_item_lies_among_the_warm_ones_of_its_theme() -> None:
    theme, text, graph = two_views()
    cold = np.arange(0, len(theme), 10)
    graph[cold] = 0
    vectors, usable = hybrid_vectors(text, graph, dim=16)
    warm = np.setdiff1d(np.arange(len(theme)), cold)
    cosines = vectors[cold] @ vectors[warm].T
    same = theme[cold][:, None] == theme[warm][None, :]
    assert usable.all()
    assert cosines[same].min() > cosines[~same].max()
    # and as near to them as they are to each other
    among_warm = (vectors[warm] @ vectors[warm].T)[theme[warm][:, None] == theme[warm][None, :]]
    assert cosines[same].mean() > among_warm.mean() - 0.1


def test_an_item_without_text_keeps_its_place_in_the_graph() -> None:
    theme, text, graph = two_views()
    text[3] = 0
    vectors, _ = hybrid_vectors(text, graph, dim=32)
    nearest = np.argsort(-(vectors @ vectors[3]))[1:20]
    assert (theme[nearest] == theme[3]).all()


def test_an_item_with_neither_has_no_vector() -> None:
    _, text, graph = two_views()
    text[7] = graph[7] = 0
    vectors, usable = hybrid_vectors(text, graph, dim=16)
    assert np.flatnonzero(~usable).tolist() == [7]
    assert not vectors[7].any()
    np.testing.assert_allclose(np.linalg.norm(vectors[usable], axis=1), 1, rtol=1e-5)


def test_text_weight_zero_is_the_graph() -> None:
    _, text, graph = two_views()
    vectors, _ = hybrid_vectors(text, graph, dim=16, text_weight=0.0)
    np.testing.assert_allclose(vectors @ vectors.T, graph @ graph.T, atol=1e-4)


def test_a_prediction_is_shorter_than_an_observation() -> None:
    _, text, graph = two_views()
    graph[::10] = 0
    filled = with_predictions(text, graph)
    lengths = np.linalg.norm(filled, axis=1)
    assert (lengths[::10] < 0.99).all()
    assert (lengths[::10] > 0.3).all()
    np.testing.assert_array_equal(filled[1::10], graph[1::10])


def test_nothing_in_common_predicts_nothing() -> None:
    _, text, graph = two_views()
    text[::2] = 0
    graph[1::2] = 0
    vectors, usable = hybrid_vectors(text, graph, dim=32)
    assert usable.all()
    assert np.isfinite(vectors).all()
