from __future__ import annotations

import numpy as np

from wayline.embeddings.hybrid import hybrid_vectors
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
    return theme, text, graph, np.full(len(theme), 20, np.float32)


def test_a_cold_item_lies_among_the_warm_ones_of_its_theme() -> None:
    theme, text, graph, support = two_views()
    cold = np.arange(0, len(theme), 10)
    graph[cold] = 0
    support[cold] = 0
    vectors, usable = hybrid_vectors(text, graph, support, dim=16)
    warm = np.setdiff1d(np.arange(len(theme)), cold)
    cosines = vectors[cold] @ vectors[warm].T
    same = theme[cold][:, None] == theme[warm][None, :]
    assert usable.all()
    assert cosines[same].min() > cosines[~same].max()
    # and as near to them as they are to each other
    among_warm = (vectors[warm] @ vectors[warm].T)[theme[warm][:, None] == theme[warm][None, :]]
    assert cosines[same].mean() > among_warm.mean() - 0.1


def test_an_item_without_text_keeps_its_place_in_the_graph() -> None:
    theme, text, graph, support = two_views()
    text[3] = 0
    vectors, _ = hybrid_vectors(text, graph, support, dim=32)
    nearest = np.argsort(-(vectors @ vectors[3]))[1:20]
    assert (theme[nearest] == theme[3]).all()


def test_an_item_with_neither_has_no_vector() -> None:
    _, text, graph, support = two_views()
    text[7] = graph[7] = support[7] = 0
    vectors, usable = hybrid_vectors(text, graph, support, dim=16)
    assert np.flatnonzero(~usable).tolist() == [7]
    assert not vectors[7].any()
    np.testing.assert_allclose(np.linalg.norm(vectors[usable], axis=1), 1, rtol=1e-5)


def test_text_weight_zero_is_the_graph() -> None:
    _, text, graph, support = two_views()
    vectors, _ = hybrid_vectors(text, graph, support, dim=16, text_weight=0.0)
    np.testing.assert_allclose(vectors @ vectors.T, graph @ graph.T, atol=1e-4)


def test_little_support_leans_on_the_text() -> None:
    _, text, graph, support = two_views()
    graph[0] = graph[-1]  # one stray action has put the item into a foreign theme
    support[0] = 1
    own, _ = hybrid_vectors(text, graph, support, dim=16)
    leaning, _ = hybrid_vectors(text, graph, support, dim=16, prior_support=5.0)
    to_its_theme = [float((v[1:PER_THEME] @ v[0]).mean()) for v in (own, leaning)]
    assert to_its_theme[1] > to_its_theme[0]
