"""Hybrid vectors: what people do with an item and what it says, in one space."""

from __future__ import annotations

import numpy as np

from wayline.embeddings.linear import principal_rows, unit_rows
from wayline.schema import BoolVector, FloatMatrix, FloatVector

# Chosen, not published: benchmarks/embeddings.py, docs/embeddings.md.
TEXT_WEIGHT = 0.7
PRIOR_SUPPORT = 0.0
RIDGE = 10.0


def hybrid_vectors(
    text: FloatMatrix,
    graph: FloatMatrix,
    support: FloatVector,
    *,
    dim: int = 64,
    text_weight: float = TEXT_WEIGHT,
    prior_support: float = PRIOR_SUPPORT,
    ridge: float = RIDGE,
) -> tuple[FloatMatrix, BoolVector]:
    """Join text and graph vectors, so that a cold item lies where people will probably put it.

    1. A ridge regression learns, on the items that have both, where in the graph's space a text
       lies. It predicts a graph vector for every text.
    2. An item's graph part is its own vector and the predicted one, by support:
       ``(n * own + k * predicted) / (n + k)``. A cold item has the prediction alone, so its cosine
       to a warm item means what one between warm items means.
    3. Text and graph part side by side, the text times ``text_weight``, reduced to ``dim`` numbers.
       An item without text has its graph part alone.

    Parameters
    ----------
    text : float32 array, shape [N, T]
        Unit rows; zero where there is no text.
    graph : float32 array, shape [N, G]
        Unit rows; zero where nobody acted.
    support : float32 array, shape [N]
        Actions behind the graph vector.
    text_weight : float
        0 is graph alone (with predictions); large is text alone.
    prior_support : float
        ``k``, in actions. The default, 0, never mixes a prediction into a warm item.
    ridge : float
        Penalty of the regression.

    Returns
    -------
    vectors : float32 array, shape [N, dim]
        Unit norm; zero where an item has neither.
    usable : bool array, shape [N]
    """
    has_text = np.einsum("nd,nd->n", text, text) > 0.5
    has_graph = np.einsum("nd,nd->n", graph, graph) > 0.5
    both = has_text & has_graph
    own_share = np.where(has_graph, support / np.maximum(support + prior_support, 1e-9), 0)
    own_share = np.where(has_text, own_share, has_graph).astype(np.float32)[:, None]
    predicted = unit_rows(text @ _ridge(text[both], graph[both], ridge))
    joined = unit_rows(own_share * graph + (1 - own_share) * predicted)
    rows = np.concatenate([np.float32(text_weight) * text, joined], axis=1)
    vectors = unit_rows(principal_rows(rows, dim))
    return vectors, np.einsum("nd,nd->n", vectors, vectors) > 0.5


def _ridge(inputs: FloatMatrix, outputs: FloatMatrix, penalty: float) -> FloatMatrix:
    """``argmin |inputs B - outputs|^2 + penalty |B|^2``, [T, G]."""
    gram = inputs.T.astype(np.float64) @ inputs
    gram[np.diag_indices_from(gram)] += penalty
    solved = np.linalg.solve(gram, inputs.T.astype(np.float64) @ outputs)
    return np.asarray(solved, dtype=np.float32)
