"""Near-data selection: for every candidate the tokens of a long history that are nearest to it.

A person's lifelong history is too long for a ranker, so each candidate sees the ``k`` tokens that
resemble it most (TransAct V2 2025, section 3.2, eq. 2). The history stays where it is: positions of
items, whose int8 vectors are gathered, brought to length 1, multiplied with all candidates and cut
to the top k in one pass (:mod:`wayline.sequences._select_kernels`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wayline.errors import BadVectorError, DimensionMismatchError, InputError
from wayline.schema import BoolVector, FloatMatrix, IntVector

Table = npt.NDArray[np.int8]
IndexMatrix = npt.NDArray[np.int32]

MAX_DIM = 1024
"""Beyond it a row's squared length is no longer exact in float32."""
_END_OF_TIME = 2**63 - 1
_SAMPLE_MIN, _SAMPLE_MAX, _SAMPLE_PART = 512, 4096, 8
_SURE = 3.0  # standard deviations by which a guessed threshold stays below the k-th place
_PATIENCE = 8  # full rooms a candidate before copies are looked for; a usual history fills none
_WORTH_A_THREAD = 200_000  # products below which a second thread costs more than it brings


@dataclass(frozen=True, slots=True)
class Selection:
    """The nearest tokens of every candidate, nearest first.

    Attributes
    ----------
    token_idx : int32 array, shape [C, K]
        Positions in the sequence; -1 where there are no more tokens.
    similarity : float32 array, shape [C, K]
        Inner products with the tokens' unit vectors; 0 where ``token_idx`` is -1.
    """

    token_idx: IndexMatrix
    similarity: FloatMatrix


def select_nearest(
    token_item_idx: npt.ArrayLike,
    token_ts_ms: npt.ArrayLike,
    table: Table,
    candidates: npt.ArrayLike,
    k: int,
    *,
    until_ts_ms: int | None = None,
    valid: npt.ArrayLike | None = None,
    threads: int | None = None,
) -> Selection:
    """Find the k tokens nearest to each candidate: the exact top k of the float32 inner products.

    Equally near tokens stand newest first: later time, then later position in the sequence.

    Parameters
    ----------
    token_item_idx : int array, shape [S]
        Row of each token's item in ``table``. Negative or beyond the table: no vector, never
        selected, like an item whose row is zero.
    token_ts_ms : int array, shape [S]
        UTC milliseconds, in any order; oldest first is quickest.
    table : int8 array, shape [N, D]
        Vectors as :func:`wayline.embeddings.linear.quantise` makes them; brought back to length 1
        here, so its scale does not matter.
    candidates : int array, shape [C], or float array, shape [C, D]
        Items of the table, or vectors. A vector's length scales its similarities. One that is zero
        (or an item without a vector) is equally near to all tokens: it gets the newest.
    k : int
        At least 0.
    until_ts_ms : int, optional
        Tokens later than this are not there.
    valid : bool array, shape [S], optional
        False: the token is not there (padding).
    threads : int, optional
        Default: one a core, fewer if there is little to do. The result does not depend on it.

    Raises
    ------
    BadVectorError
        If ``table`` is not an int8 matrix of at most 1,024 dimensions, or a candidate holds NaN,
        infinity or numbers too large to square.
    DimensionMismatchError
        If candidates and table differ in width.
    InputError
        If lengths of the token arrays differ, or k is negative.

    Notes
    -----
    ``O(S C D)`` time and ``3 S D`` bytes. TransAct V2 quantises, normalises and searches in one GPU
    kernel in half precision; this one is for the CPU, and exact.

    Examples
    --------
    >>> table = np.array([[100, 0], [0, 100], [100, 100]], np.int8)
    >>> found = select_nearest([0, 1, 2, 0], [10, 20, 30, 40], table, [[1.0, 0.0]], k=3)
    >>> found.token_idx.tolist(), found.similarity.round(2).tolist()
    ([[3, 0, 2]], [[1.0, 1.0, 0.7099999785423279]])
    """
    from wayline.sequences._token_kernels import LANES, drop_copies, gather

    rows_of, vectors = _checked_vectors(table, candidates)
    item_idx, ts_ms, valid_, order = _checked_tokens(token_item_idx, token_ts_ms, valid)
    if k < 0:
        raise InputError(f"Got k = {k}, expected 0 or more: ask for at least one token.", field="k")
    c, s, dim = len(vectors), len(item_idx), rows_of.shape[1]
    width = -(-dim // LANES) * LANES
    token_idx, similarity = np.empty((c, k), np.int32), np.empty((c, k), np.float32)
    rows, inverse = np.empty((s, width), np.int8), np.empty(s, np.float32)
    position = np.empty(s, np.int64)
    until = _END_OF_TIME if until_ts_ms is None else int(until_ts_ms)
    n = int(gather(rows_of, item_idx, ts_ms, until, valid_, order, rows, inverse, position))
    if not n or not c or not k:
        token_idx[:], similarity[:] = -1, 0.0
        return Selection(token_idx, similarity)
    padded = np.zeros((c, width), np.float32)
    padded[:, :dim] = vectors
    length = np.sqrt(np.einsum("cd,cd->c", padded, padded, dtype=np.float64))
    workers = threads if threads is not None else os.cpu_count() or 1
    workers = max(1, min(workers, c * n // _WORTH_A_THREAD))
    tokens = (rows, inverse, position)
    if not _select(tokens, n, padded, length, k, workers, _PATIENCE, token_idx, similarity):
        n = int(drop_copies(*tokens, n, k))
        _select(tokens, n, padded, length, k, workers, s, token_idx, similarity)
    return Selection(token_idx, similarity)


def _select(
    tokens: tuple[Any, Any, Any], n: int, vectors: FloatMatrix, length: Any, k: int, workers: int,
    patience: int, token_idx: IndexMatrix, similarity: FloatMatrix,
) -> bool:  # fmt: skip
    """Fill the outputs from the first n tokens; False if their rooms were full too often."""
    from wayline.sequences._select_kernels import select_range
    from wayline.sequences._token_kernels import TOKENS

    rows, inverse, position = tokens
    plan = _planned(n, k)
    packed = _packed(rows, inverse, n, n)
    sample = packed if plan.sample == n else _packed(rows, inverse, n, plan.sample)
    n_sample = -(-plan.sample // TOKENS) * TOKENS

    def work(tasks: Iterator[tuple[int, int]]) -> bool:
        return all(
            select_range(
                rows, inverse, position, n, packed, sample, n_sample, plan.place, vectors, length,
                first, last, k, plan.room, patience, token_idx, similarity,
            )
            for first, last in tasks
        )  # fmt: skip

    return _share(work, len(vectors), workers)


def select_reference(
    token_item_idx: npt.ArrayLike,
    token_ts_ms: npt.ArrayLike,
    table: Table,
    candidates: npt.ArrayLike,
    k: int,
    *,
    until_ts_ms: int | None = None,
    valid: npt.ArrayLike | None = None,
) -> Selection:
    """The readable twin of :func:`select_nearest`: all products, in double precision, and a sort.

    For tests.
    """
    rows_of, vectors = _checked_vectors(table, candidates)
    item_idx, ts_ms = np.asarray(token_item_idx, np.int64), np.asarray(token_ts_ms, np.int64)
    here = (item_idx >= 0) & (item_idx < len(rows_of))
    here &= True if until_ts_ms is None else ts_ms <= until_ts_ms
    here &= True if valid is None else np.asarray(valid, np.bool_)
    tokens = rows_of[np.where(here, item_idx, 0)] if len(rows_of) else np.zeros((len(here), 1))
    unit = tokens.astype(np.float64)
    length = np.sqrt((unit**2).sum(1))
    here &= length > 0
    unit /= np.where(length > 0, length, 1.0)[:, None]
    token_idx = np.full((len(vectors), k), -1, np.int32)
    similarity = np.zeros((len(vectors), k), np.float32)
    for c, vector in enumerate(vectors.astype(np.float64)):
        product = (unit @ vector).astype(np.float32)
        # Keys from the last to the first: near, new, late in the sequence.
        order = np.lexsort((np.arange(len(here)), ts_ms, product))[::-1]
        order = order[here[order]][:k]
        token_idx[c, : len(order)], similarity[c, : len(order)] = order, product[order]
    return Selection(token_idx, similarity)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How many tokens to sample, which place of theirs is the threshold, and room a candidate."""

    sample: int
    place: int
    room: int


def _planned(n: int, k: int) -> _Plan:
    """Choose a sample such that its threshold keeps k tokens almost surely, and few more."""
    if n <= 2 * k + 64:
        return _Plan(0, 0, _rounded(n + 64))
    sample = min(n, _SAMPLE_MAX, max(_SAMPLE_MIN, n // _SAMPLE_PART // 64 * 64))
    expected = k * sample / n
    place = k if sample == n else math.ceil(((_SURE + math.sqrt(_SURE**2 + 4 * expected)) / 2) ** 2)
    if place > sample // 4 * 0.7:  # lane tops are a quarter of the sample
        return _Plan(0, 0, _rounded(3 * k + 512))
    return _Plan(sample, place, _rounded(max(k + 128, 1.6 * place * n / sample) + 64))


def _rounded(room: float) -> int:
    return math.ceil(room / 64) * 64


def _packed(rows: Table, inverse: Any, n: int, count: int) -> Any:
    """Unit rows of ``count`` even steps through the tokens, as the kernels multiply them."""
    from wayline.sequences._token_kernels import TOKENS, pack

    blocks = -(-count // TOKENS)
    packed = np.empty((blocks, rows.shape[1] // 2, TOKENS), np.int32)
    packed[blocks - 1 :] = 0
    pack(rows, inverse, n, count, 0, count, packed)
    return packed


def _share(work: Callable[[Iterator[tuple[int, int]]], bool], c: int, workers: int) -> bool:
    """Cut the candidates into even runs; the caller's thread takes its share of them."""
    from wayline.sequences._select_kernels import CHUNK, GROUP

    parts = -(-c // CHUNK)
    parts = -(-parts // workers) * workers
    step = -(-c // parts // GROUP) * GROUP
    tasks = iter([(first, min(c, first + step)) for first in range(0, c, step)])
    if workers == 1:
        return work(tasks)
    with ThreadPoolExecutor(workers - 1) as pool:
        others = [pool.submit(work, tasks) for _ in range(workers - 1)]
        done = work(tasks)
        return all([done, *(other.result() for other in others)])


def _checked_vectors(table: Table, candidates: npt.ArrayLike) -> tuple[Table, FloatMatrix]:
    """The table, contiguous, and the candidates as vectors."""
    rows: Any = np.ascontiguousarray(table)
    if rows.dtype != np.int8 or rows.ndim != 2 or not 1 <= rows.shape[1] <= MAX_DIM:
        raise BadVectorError(
            f"Got a table of {rows.dtype} with shape {rows.shape}, expected int8 [items, "
            f"dimensions] of 1 to {MAX_DIM:,} dimensions: make it with quantise()."
        )
    wanted = np.asarray(candidates)
    if wanted.ndim == 1 and (wanted.dtype.kind in "iu" or not wanted.size):
        return rows, _unit_rows_of(rows, wanted.astype(np.int64))
    if wanted.ndim != 2 or wanted.dtype.kind not in "fiu":
        raise InputError(
            f"Got candidates of {wanted.dtype} with shape {wanted.shape}, expected item positions "
            "[C] or vectors [C, D]: pass one of the two.",
            field="candidates",
        )
    if wanted.shape[1] != rows.shape[1]:
        raise DimensionMismatchError(
            got=wanted.shape[1],
            expected=rows.shape[1],
            where="candidates",
            cure="take both from the same generation",
        )
    vectors = wanted.astype(np.float32, copy=False)
    if not np.abs(vectors, dtype=np.float32).max(initial=0.0) < 1e18:
        raise BadVectorError(
            "Got candidates with NaN, infinity or numbers too large to square, expected unit "
            "vectors: drop or mend those rows."
        )
    return rows, vectors


def _unit_rows_of(table: Table, item_idx: IntVector) -> FloatMatrix:
    """Unit vectors of items; zero where there is none."""
    known = (item_idx >= 0) & (item_idx < len(table))
    vectors = np.zeros((len(item_idx), table.shape[1]), np.float32)
    vectors[known] = table[item_idx[known]]
    length = np.sqrt(np.einsum("cd,cd->c", vectors, vectors))
    vectors /= np.where(length > 0, length, 1.0)[:, None]
    return vectors


def _checked_tokens(
    token_item_idx: npt.ArrayLike, token_ts_ms: npt.ArrayLike, valid: npt.ArrayLike | None
) -> tuple[IntVector, IntVector, BoolVector, IntVector]:
    """Tokens as the kernels take them, and their order newest first (empty: the last is newest)."""
    item_idx = np.ascontiguousarray(token_item_idx, np.int64)
    ts_ms = np.ascontiguousarray(token_ts_ms, np.int64)
    there = np.ascontiguousarray(() if valid is None else valid, np.bool_)
    lengths = {len(item_idx), len(ts_ms), len(item_idx) if valid is None else len(there)}
    if item_idx.ndim != 1 or ts_ms.ndim != 1 or len(lengths) > 1:
        raise InputError(
            f"Got {item_idx.shape} items, {ts_ms.shape} times and {there.shape} flags, expected "
            "one of each for every token: pass arrays of one length.",
            field="token_item_idx",
        )
    if (ts_ms[1:] >= ts_ms[:-1]).all():
        return item_idx, ts_ms, there, np.empty(0, np.int64)
    return item_idx, ts_ms, there, np.argsort(ts_ms, kind="stable")[::-1].copy()
