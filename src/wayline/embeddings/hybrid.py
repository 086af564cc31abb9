"""Hybrid vectors: what people do with an item and what it says, in one space."""

from __future__ import annotations

import numpy as np

from wayline.embeddings.linear import principal_rows, unit_rows
from wayline.schema import BoolVector, FloatMatrix

# Chosen, not published: benchmarks/embeddings.py, docs/embeddings.md.
TEXT_WEIGHT = 1.0
RIDGE = 10.0


def hybrid_vectors(
    text: FloatMatrix,
    graph: FloatMatrix,
    *,
    dim: int = 64,
    text_weight: float = TEXT_WEIGHT,
    ridge: float = RIDGE,
) -> tuple[FloatMatrix, BoolVector]:
    """Join text and graph vectors, so that a cold item lies where people will probably put it.

    1. A ridge regression learns, on the items that have both, where in the graph's space a text
       lies, and predicts a graph vector for every cold item. The prediction keeps its length,
       which is below 1 and the shorter the less a text says about people: so that cold items stand
       near the warm ones they resemble, but do not crowd in front of them.
    2. Text and graph part side by side, the text times ``text_weight``, reduced to ``dim`` numbers.
       An item without text has its graph part alone.

    Parameters
    ----------
    text : float32 array, shape [N, T]
        Unit rows; zero where there is no text.
    graph : float32 array, shape [N, G]
        Unit rows; zero where nobody acted.
    text_weight : float
        0 is graph alone (with predictions); large is text alone.
    ridge : float
        Penalty of the regression.

    Returns
    -------
    vectors : float32 array, shape [N, dim]
        Unit norm; zero where an item has neither.
    usable : bool array, shape [N]
    """
    rows = np.concatenate(
        [np.float32(text_weight) * text, with_predictions(text, graph, ridge=ridge)], axis=1
    )
    vectors = unit_rows(principal_rows(rows, dim))
    return vectors, np.einsum("nd,nd->n", vectors, vectors) > 0.5


def with_predictions(text: FloatMatrix, graph: FloatMatrix, *, ridge: float = RIDGE) -> FloatMatrix:
    """Graph vectors [N, G], where an item has none the one that its text predicts."""
    has_text = np.einsum("nd,nd->n", text, text) > 0
    has_graph = np.einsum("nd,nd->n", graph, graph) > 0
    known = np.flatnonzero(has_text & has_graph)
    inputs, outputs = text[known].astype(np.float64), graph[known]
    # argmin |inputs B - outputs|^2 + ridge |B|^2
    gram = inputs.T @ inputs + ridge * np.eye(text.shape[1])
    predicted = text @ np.linalg.solve(gram, inputs.T @ outputs).astype(np.float32)
    return np.where(has_graph[:, None], graph, predicted)
