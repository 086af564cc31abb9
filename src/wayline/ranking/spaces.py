"""Item spaces: small vectors of all items in which a ranker reads sequences, the same space from build to build.

Every build makes its vectors anew, turned and mirrored at will: a model trained in one would read noise in the next. So
a ranker keeps the space it was trained in, and the vectors of any other build are turned into it (orthogonal Procrustes
over the items both know).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from wayline.embeddings.linear import dequantise, quantise
from wayline.schema import FloatMatrix


@dataclass(frozen=True, slots=True)
class Space:
    """A ranker's own item space.

    Attributes
    ----------
    basis : float32 array, shape [D, d]
        Orthonormal columns: the directions of the first training's vectors that vary most.
    reference : float32 array, shape [N, d]
        Item vectors in the space, which later builds are turned to.
    """

    basis: FloatMatrix
    reference: FloatMatrix

    @classmethod
    def of(cls, vectors: FloatMatrix, dim: int) -> Space:
        """Choose the ``dim`` directions in which some vectors vary most (all of them, if there are fewer).

        Parameters
        ----------
        vectors : float32 array, shape [N, D]
            Unit vectors; zero rows for items without one.
        dim : int
            At most D are used; the rest of the space stays empty.
        """
        there = vectors[np.abs(vectors).any(axis=1)]
        width = vectors.shape[1]
        basis = np.zeros((width, dim), np.float32)
        if len(there):
            _, directions = np.linalg.eigh(there.T.astype(np.float64) @ there)
            keep = min(dim, width)
            basis[:, :keep] = directions[:, ::-1][:, :keep]
        return cls(basis, _units(vectors @ basis))

    def table(self, vectors: FloatMatrix) -> FloatMatrix:
        """Bring the vectors of a build into the space: unit rows [N, d], as quantised to int8; zero rows stay zero."""
        n = min(len(vectors), len(self.reference))
        both = np.flatnonzero(
            np.abs(vectors[:n]).any(axis=1) & np.abs(self.reference[:n]).any(axis=1)
        )
        if len(both) == 0:
            return np.zeros((len(vectors), self.reference.shape[1]), np.float32)
        turned = turn(vectors[both], self.reference[both])
        return rounded(_units(vectors @ turned))


def turn(vectors: FloatMatrix, towards: FloatMatrix) -> FloatMatrix:
    """Find ``W`` [D, d] with orthonormal columns (D >= d) that brings ``vectors @ W`` nearest to ``towards`` [M, d]."""
    u, _, vt = scipy.linalg.svd(
        vectors.T.astype(np.float64) @ towards, full_matrices=False, check_finite=False
    )
    return np.asarray(u @ vt, dtype=np.float32)


def rounded(table: FloatMatrix) -> FloatMatrix:
    """Give what int8 quantisation leaves of unit rows, normalised again: training reads what serving stores."""
    return _units(dequantise(quantise(table)))


def _units(rows: FloatMatrix) -> FloatMatrix:
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: FloatMatrix = np.zeros_like(rows, dtype=np.float32)
    np.divide(rows, norm, out=unit, where=norm > 1e-6)
    return unit
