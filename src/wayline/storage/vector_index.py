"""The seam to nearest-neighbour engines: one small Protocol, whose docstring is the contract."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol, Self

import numpy as np

from wayline.errors import BadVectorError, DimensionMismatchError, InputError, shorten
from wayline.schema import FloatMatrix, IntVector

NO_KEY = -1
"""Fills the places of a result row for which there is no item."""


class Neighbours(NamedTuple):
    """What a search found.

    Attributes
    ----------
    keys : int64 array, shape [Q, K]
        Best first; ``NO_KEY`` behind the last neighbour.
    similarities : float32 array, shape [Q, K]
        Cosines, descending; ``-inf`` where the key is ``NO_KEY``.
    """

    keys: IntVector
    similarities: FloatMatrix


class VectorIndex(Protocol):
    """Finds the items whose vectors have the largest cosine to a query's.

    One suite, ``tests/storage/test_vector_index.py``, holds every implementation, and an exact one
    beside it, to this:

    - **Build.** ``build(keys, vectors)`` makes a new, finished index; the same input gives the same
      answers on every run. Lengths of vectors do not matter (only directions do). A key that comes
      twice stands for its last vector. Keys are 0 or above.
    - **Search.** ``search(queries, k)`` gives exactly ``k`` columns. Rows are ordered by descending
      similarity, equal similarities by ascending key; no key twice in a row. If fewer than ``k``
      items are indexed they are all there and the rest is ``NO_KEY`` with similarity ``-inf``. At
      least 95 of the true first 100 are found; up to 1,000 items, and where ``k`` is a quarter of
      the index or more, the search is exhaustive. Similarities are within 0.004 of the exact
      cosine. An item's own vector finds the item itself: leaving it out is the caller's choice. Any
      number of threads may search one index at once.
    - **Empty.** An index of no items has a ``dim`` too; it saves, views, and answers with
      ``NO_KEY``. No queries give no rows.
    - **Files.** ``save(path)`` writes one file, whole or not at all, replacing what was there;
      ``view(path)`` maps it, reading pages as searches touch them, and answers as the saved index
      did.
    - **Errors.** ``DimensionMismatchError`` for queries of another width; ``BadVectorError``,
      naming the row, for NaN, infinity and vectors of length 0, in ``build`` and ``search``;
      ``InputError`` for a negative key, ``k`` below 1, or keys and vectors of different number;
      ``FileProblemError`` from ``view`` for what is not a saved index; ``DiskFullError`` from
      ``save``. After an error nothing has changed.
    """

    @property
    def dim(self) -> int:
        """Numbers a vector."""
        ...

    def __len__(self) -> int:
        """Items indexed, each key once."""
        ...

    @classmethod
    def build(cls, keys: IntVector, vectors: FloatMatrix) -> Self:
        """Index ``keys`` (int64, shape [N]) under ``vectors`` (float32, shape [N, D])."""
        ...

    def search(self, queries: FloatMatrix, k: int) -> Neighbours:
        """The ``k`` nearest items of each query (float32, shape [Q, D])."""
        ...

    def save(self, path: Path) -> None:
        """Write the index to one file."""
        ...

    @classmethod
    def view(cls, path: Path) -> Self:
        """Map a saved index; it can be searched, not saved over while in use elsewhere."""
        ...


def checked_directions(vectors: FloatMatrix, *, where: str, dim: int | None = None) -> FloatMatrix:
    """Vectors scaled to length 1, or the contract's error.

    Parameters
    ----------
    vectors : float32 array, shape [N, D]
    where : str
        What the vectors are, for the message.
    dim : int, optional
        The width they must have.
    """
    matrix = np.asarray(vectors, dtype=np.float32)
    if matrix.ndim != 2:
        raise InputError(
            f"Got {where} of shape {matrix.shape}, expected one row a vector: reshape to [N, D]."
        )
    if dim is not None and matrix.shape[1] != dim:
        cure = "give vectors of the same generation"
        raise DimensionMismatchError(got=matrix.shape[1], expected=dim, where=where, cure=cure)
    norms = np.linalg.norm(matrix.astype(np.float64), axis=1)
    bad = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if len(bad):
        raise BadVectorError(
            f"Row {bad[0]} of {where} is {shorten(matrix[bad[0], :4].tolist())}…, "
            "expected finite numbers, not all zero: leave that item out or mend its vector.",
            field="vector",
        )
    return np.ascontiguousarray(matrix / norms[:, None], dtype=np.float32)


def checked_keys(keys: IntVector, n_vectors: int) -> IntVector:
    """Keys as int64, or the contract's error."""
    checked = np.asarray(keys, dtype=np.int64).reshape(-1)
    if len(checked) != n_vectors:
        raise InputError(
            f"Got {len(checked)} keys and {n_vectors} vectors, expected one key a vector."
        )
    if len(checked) and checked.min() < 0:
        raise InputError(f"Got the key {checked.min()}, expected keys of 0 or above.", field="key")
    return checked


def last_of_each(keys: IntVector) -> IntVector:
    """Positions of each distinct key's last occurrence, ascending by key.

    >>> last_of_each(np.array([7, 3, 7])).tolist()
    [1, 2]
    """
    _, from_end = np.unique(keys[::-1], return_index=True)
    return (len(keys) - 1 - from_end).astype(np.int64)


def ranked(keys: IntVector, similarities: FloatMatrix, k: int) -> Neighbours:
    """Bring found neighbours ([Q, any], ``NO_KEY`` allowed) into the contract's order and width."""
    similarities = np.where(keys == NO_KEY, -np.inf, similarities).astype(np.float32)
    order = np.lexsort((keys, -similarities), axis=1)[:, :k]
    out_keys = np.full((len(keys), k), NO_KEY, dtype=np.int64)
    out_similarities = np.full((len(keys), k), -np.inf, dtype=np.float32)
    out_keys[:, : order.shape[1]] = np.take_along_axis(keys, order, axis=1)
    out_similarities[:, : order.shape[1]] = np.take_along_axis(similarities, order, axis=1)
    return Neighbours(out_keys, out_similarities)
