"""The little linear algebra that the kinds of vectors share: unit rows, reduction, int8."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wayline.schema import FloatMatrix

INT8_RANGE = 0.65
"""Largest component that int8 can hold (TransAct V2 2025, section 3.1)."""


def unit_rows(matrix: FloatMatrix) -> FloatMatrix:
    """Rows scaled to length 1; a zero row stays zero.

    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float32)).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    norms = np.sqrt(np.einsum("nd,nd->n", matrix, matrix, dtype=np.float64))
    return (matrix / np.where(norms > 0, norms, 1.0)[:, None]).astype(np.float32)


def principal_rows(matrix: FloatMatrix, dim: int) -> FloatMatrix:
    """Project rows on their ``dim`` leading right singular vectors: what keeps inner products best.

    Eckart-Young: of all rank-``dim`` matrices the result's Gram matrix is nearest to the rows' own.
    Not centred: subtracting the mean would change the cosines that everything later is made of.
    Exact, by the eigenvectors of the Gram matrix ``[W, W]``, so it costs ``N * W**2`` and is the
    same on every run; signs are fixed by the largest component.

    Parameters
    ----------
    matrix : float32 array, shape [N, W]
    dim : int
        If ``W`` (or the rank) is smaller the last columns are zero.

    Returns
    -------
    float32 array, shape [N, dim]
    """
    out = np.zeros((len(matrix), dim), dtype=np.float32)
    gram = matrix.T.astype(np.float64) @ matrix.astype(np.float64)
    _, basis = np.linalg.eigh(gram)  # ascending
    basis = basis[:, ::-1][:, :dim]
    basis = basis * np.where(basis[np.abs(basis).argmax(0), np.arange(basis.shape[1])] < 0, -1, 1)
    out[:, : basis.shape[1]] = matrix @ basis.astype(np.float32)
    return out


def quantise(vectors: FloatMatrix) -> npt.NDArray[np.int8]:
    """int8 form of unit vectors for sequence search: ``round(clamp(e / 0.65 * 127, -127, 127))``.

    TransAct V2 (2025), section 3.1. A component within +-0.65 comes back within ``0.65 / 254``
    (0.0026); what is beyond is cut to it, which a unit vector of 64 numbers has rarely.

    Parameters
    ----------
    vectors : float32 array, shape [..., D]

    Returns
    -------
    int8 array, shape [..., D]

    Examples
    --------
    >>> quantise(np.array([0.65, -0.325, 0.9, 0.0], dtype=np.float32)).tolist()
    [127, -64, 127, 0]
    """
    # np.rint rounds halves to even, as torch.round does: the two must agree bit for bit
    scaled = np.asarray(vectors, dtype=np.float32) / np.float32(INT8_RANGE) * np.float32(127)
    rounded: npt.NDArray[np.int8] = np.rint(np.clip(scaled, -127, 127)).astype(np.int8)
    return rounded


def quantise_rows(vectors: FloatMatrix) -> npt.NDArray[np.int8]:
    """int8 form of vectors of which only the direction counts: each row fills the range of int8.

    Where we differ from :func:`quantise` (TransAct V2 2025, section 3.1): no component is cut off, which in a space of
    16 numbers happens to many rows, and rows brought back to length 1 give the same int8 again.

    Parameters
    ----------
    vectors : float32 array, shape [N, D]

    Returns
    -------
    int8 array, shape [N, D]; zero rows stay zero

    Examples
    --------
    >>> quantise_rows(np.array([[0.9, -0.45], [0.0, 0.0]], dtype=np.float32)).tolist()
    [[127, -64], [0, 0]]
    """
    largest = np.abs(vectors).max(axis=1, initial=0.0)
    scale = np.float32(127) / np.where(largest > 0, largest, 1).astype(np.float32)
    return np.asarray(np.rint(vectors * scale[:, None]), dtype=np.int8)


def dequantise(quantised: npt.NDArray[np.int8]) -> FloatMatrix:
    """float32 form of :func:`quantise`'s result.

    >>> dequantise(np.array([127, 0], dtype=np.int8)).round(2).tolist()
    [0.6499999761581421, 0.0]
    """
    return quantised.astype(np.float32) * np.float32(INT8_RANGE / 127)
