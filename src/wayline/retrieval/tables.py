"""Item-to-item tables: for each item its strongest partners, as two rectangular arrays.

A table is what remains of an item-item model after keeping each item's strongest partners. Serving reads a few rows
of it, so a request costs ``history x K`` whatever the catalogue's size, and a generation holds ``N x K x 8`` bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from wayline.schema import FloatMatrix, FloatVector, IndexVector, IntVector

EASE_LAMBDA = 200.0  # quality hardly depends on it (docs/experiments.md)
EASE_MAX_ITEMS = 12_500  # one dense inverse of this width: 625 MB and about half a minute
PARTNERS = 256  # kept per item
TRANSITION_BACKWARDS = 0.3  # a step counts this much the other way round too
TRANSITION_SMOOTHING = 5.0
TRANSITION_TARGET_POWER = 0.2  # how far a partner's own popularity is divided out


@dataclass(frozen=True, slots=True)
class NeighbourTable:
    """Each item's strongest partners.

    Attributes
    ----------
    partner_idx : int32 array, shape [N, K]
        Item positions, strongest first; -1 pads a short row.
    weight : float32 array, shape [N, K]
        Strength, possibly negative; 0 where padded.
    """

    partner_idx: IndexVector
    weight: FloatMatrix

    def __len__(self) -> int:
        return len(self.partner_idx)

    def save(self, folder: Path, name: str) -> None:
        """Write ``name.partner_idx.npy`` and ``name.weight.npy``."""
        np.save(folder / f"{name}.partner_idx.npy", self.partner_idx)
        np.save(folder / f"{name}.weight.npy", self.weight)

    @classmethod
    def view(cls, folder: Path, name: str) -> NeighbourTable:
        """Map a saved table without reading it."""
        return cls(
            np.asarray(np.load(folder / f"{name}.partner_idx.npy", mmap_mode="r")),
            np.asarray(np.load(folder / f"{name}.weight.npy", mmap_mode="r")),
        )


def interaction_matrix(
    user_idx: IntVector, item_idx: IntVector, weight: FloatVector, shape: tuple[int, int]
) -> sp.csr_matrix:
    """Give the users x items matrix; an entry is the largest weight of that pair, so repeats do not add up."""
    order = np.lexsort((weight, item_idx, user_idx))
    users, items, weights = user_idx[order], item_idx[order], weight[order]
    last = np.ones(len(order), bool)
    last[:-1] = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
    return sp.csr_matrix(
        (weights[last].astype(np.float32), (users[last], items[last])), shape=shape
    )


def ease_table(matrix: sp.csr_matrix, *, partners: int = PARTNERS) -> NeighbourTable:
    """Fit EASE (Steck 2019) and keep each item's strongest partners, negative ones too.

    ``B = I - P / diag(P)`` with ``P = (X'X + lambda I)^-1``. Where users are fewer than items the inverse is taken
    in the users' space (Woodbury), which gives the same B. Above ``EASE_MAX_ITEMS`` items only the most engaged ones
    get a row; the others are reached through the other tables and through their vectors.

    Parameters
    ----------
    matrix : csr matrix, shape [U, N]
        Non-negative engagement.
    partners : int
        K of the table.
    """
    n_items = matrix.shape[1]
    support = np.asarray((matrix > 0).sum(0)).ravel()
    head = np.flatnonzero(support > 0)
    if len(head) > EASE_MAX_ITEMS:
        head = np.sort(np.argsort(-support, kind="stable")[:EASE_MAX_ITEMS])
    sub = matrix[:, head].tocsr()
    active = sub[np.diff(sub.indptr) > 0]
    rows = _dual_rows(active) if active.shape[0] < 0.6 * len(head) else _primal_rows(active)
    return _strongest(rows, head, n_items, partners)


def _primal_rows(x: sp.csr_matrix) -> Any:
    """Yield (first row, block of B) from the inverse in item space."""
    gram = np.asarray((x.T @ x).toarray(), dtype=np.float32, order="F")
    gram[np.diag_indices_from(gram)] += EASE_LAMBDA
    factor, info = scipy.linalg.lapack.spotrf(gram, lower=1, overwrite_a=1)
    if info:
        raise np.linalg.LinAlgError(f"EASE: Cholesky failed at {info}")
    inverse, _ = scipy.linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    diagonal = np.diag(inverse).copy()
    n = len(diagonal)
    for begin in range(0, n, 1024):
        end = min(begin + 1024, n)
        # Only the lower triangle is filled: rows begin..end are its rows up to the diagonal, then its columns.
        block = np.tril(inverse[begin:end, :end], k=begin)
        block = np.hstack([block, np.zeros((end - begin, n - end), np.float32)])
        block[:, begin:] += np.triu(inverse[begin:, begin:end].T, k=1)
        yield begin, -block / diagonal


def _dual_rows(x: sp.csr_matrix) -> Any:
    """Yield (first row, block of B) from the inverse in user space: ``P = (I - X' (XX' + lambda I)^-1 X) / lambda``."""
    gram = (x @ x.T).toarray().astype(np.float64)
    gram[np.diag_indices_from(gram)] += EASE_LAMBDA
    projected = np.asarray(
        scipy.linalg.solve(gram, x.toarray(), assume_a="pos"), dtype=np.float32
    )  # [U, N]
    diagonal = (1 - np.asarray(x.multiply(projected).sum(0)).ravel()) / EASE_LAMBDA
    n = x.shape[1]
    transposed = x.T.tocsr()
    for begin in range(0, n, 1024):
        end = min(begin + 1024, n)
        block = transposed[begin:end] @ projected
        yield (
            begin,
            np.asarray(block, dtype=np.float32) / (EASE_LAMBDA * diagonal.astype(np.float32)),
        )


def _strongest(blocks: Any, head: IntVector, n_items: int, partners: int) -> NeighbourTable:
    k = max(min(partners, len(head) - 1), 1)
    partner_idx = np.full((n_items, k), -1, np.int32)
    weight = np.zeros((n_items, k), np.float32)
    for begin, block in blocks:
        rows = np.arange(len(block))
        block[rows, begin + rows] = 0
        top = np.argpartition(-np.abs(block), min(k, block.shape[1] - 1), axis=1)[:, :k]
        values = np.take_along_axis(block, top, axis=1)
        order = np.argsort(-np.abs(values), axis=1, kind="stable")
        targets = head[begin : begin + len(block)]
        partner_idx[targets] = head[np.take_along_axis(top, order, axis=1)]
        weight[targets] = np.take_along_axis(values, order, axis=1)
    partner_idx[weight == 0] = -1
    return NeighbourTable(partner_idx, weight)


def transition_table(
    user_idx: IntVector,
    item_idx: IntVector,
    n_items: int,
    *,
    window: int,
    partners: int = PARTNERS,
) -> NeighbourTable:
    """Count which item follows which, and keep each item's strongest followers.

    A pair ``gap`` steps apart counts ``1 / gap`` forwards and ``TRANSITION_BACKWARDS / gap`` backwards; counts are
    divided by the popularity of both ends, the follower's only to the power 0.2. Chosen, not published.

    Parameters
    ----------
    user_idx, item_idx : int64 arrays, shape [M]
        First-time actions, sorted by user and within a user by time.
    window : int
        How many steps apart still counts as following.
    """
    counts = sp.csr_matrix((n_items, n_items), dtype=np.float32)
    for gap in range(1, window + 1):
        same = user_idx[gap:] == user_idx[:-gap]
        before, after = item_idx[:-gap][same], item_idx[gap:][same]
        step = sp.csr_matrix(
            (np.full(len(before), 1.0 / gap, np.float32), (before, after)), shape=counts.shape
        )
        counts = counts + step + TRANSITION_BACKWARDS * step.T
    popularity = np.bincount(item_idx, minlength=n_items) + TRANSITION_SMOOTHING
    scaled = sp.csr_matrix(
        sp.diags(popularity ** -(1 - TRANSITION_TARGET_POWER))
        @ counts
        @ sp.diags(popularity**-TRANSITION_TARGET_POWER)
    )
    scaled.setdiag(0)
    scaled.eliminate_zeros()
    return sparse_table(scaled, partners)


def sparse_table(matrix: sp.csr_matrix, partners: int) -> NeighbourTable:
    """Keep the ``partners`` largest entries of each row of a sparse matrix."""
    lengths = np.diff(matrix.indptr)
    rows = np.repeat(np.arange(matrix.shape[0]), lengths)
    order = np.lexsort((matrix.indices, -matrix.data, rows))
    rank = np.arange(len(order)) - np.repeat(matrix.indptr[:-1], lengths)
    keep = rank < partners
    k = max(int(min(partners, lengths.max(initial=1))), 1)
    partner_idx = np.full((matrix.shape[0], k), -1, np.int32)
    weight = np.zeros((matrix.shape[0], k), np.float32)
    partner_idx[rows[keep], rank[keep]] = matrix.indices[order][keep]
    weight[rows[keep], rank[keep]] = matrix.data[order][keep]
    return NeighbourTable(partner_idx, weight)
