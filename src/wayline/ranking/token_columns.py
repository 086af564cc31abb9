"""Selected tokens spelled out per candidate: what a module in training reads, and the fast scorer does without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wayline.ranking.selection import IndexMatrix, RequestTokens
from wayline.schema import BoolVector, FloatMatrix
from wayline.sequences.select import Table


@dataclass(frozen=True, slots=True)
class TokenColumns:
    """Selected tokens spelled out per candidate, as ``TransActV2.forward`` takes them (as numpy arrays).

    Attributes
    ----------
    action_bits, surface : int64 array, shape [C, T]
        0 at padding.
    item_vector : float32 array, shape [C, T, D]
        Of length 1; zeros at padding and where an item has no vector.
    valid : bool array, shape [C, T]
        False at padding.
    """

    action_bits: npt.NDArray[np.int64]
    surface: npt.NDArray[np.int64]
    item_vector: FloatMatrix
    valid: BoolVector


def token_columns(tokens: RequestTokens, token_row: IndexMatrix, table: Table) -> TokenColumns:
    """Gather what a selection points to: the copies per candidate that the fast scorer does without.

    Parameters
    ----------
    tokens : RequestTokens
    token_row : int32 array, shape [C, T]
        -1 for padding.
    table : int8 array, shape [N, D]
    """
    valid = token_row >= 0
    if not len(tokens):
        tokens_shape = (*token_row.shape, table.shape[1])
        nothing = np.zeros(token_row.shape, np.int64)
        return TokenColumns(nothing, nothing.copy(), np.zeros(tokens_shape, np.float32), valid)
    rows = np.where(valid, token_row, 0)
    vectors = unit_vectors(table, tokens.item_idx)
    return TokenColumns(
        action_bits=np.where(valid, tokens.action_bits[rows], 0).astype(np.int64),
        surface=np.where(valid, tokens.surface[rows], 0).astype(np.int64),
        item_vector=vectors[rows] * valid[..., None],
        valid=valid,
    )


def unit_vectors(table: Table, item_idx: npt.NDArray[Any]) -> FloatMatrix:
    """Vectors of items brought back to length 1, float32 [N, D]; zeros where there is none."""
    known = (item_idx >= 0) & (item_idx < len(table))
    vectors = np.zeros((len(item_idx), table.shape[1]), np.float32)
    vectors[known] = table[item_idx[known]]
    length = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    vectors /= np.where(length > 0, length, 1.0)[:, None]
    return vectors
