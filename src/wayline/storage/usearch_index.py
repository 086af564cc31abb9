"""The embedded ``VectorIndex``: usearch's HNSW graph in one memory-mapped file."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, Self

import numpy as np

from wayline.errors import DiskFullError, FileProblemError, InputError
from wayline.schema import FloatMatrix, IntVector
from wayline.storage.vector_index import (
    Neighbours,
    checked_directions,
    checked_keys,
    last_of_each,
    ranked,
)

# Chosen by measurement (docs/embeddings.md, "The index"): 100,000 clustered vectors, recall@200 of 0.987.
CONNECTIVITY = 16
EXPANSION_ADD = 64
EXPANSION_SEARCH = 200
EXHAUSTIVE_UP_TO = 1000
HEADER = b"wayline-usearch-1\n"


class UsearchIndex:
    """Hierarchical navigable small worlds (Malkov & Yashunin 2018), vectors stored as float16.

    Float16 rather than int8: at 64 numbers the vectors are a third of the file, and int8 costs two points of recall@100.
    Items are added by one thread in ascending order of key, because with several the graph depends on who came first.
    A build takes about 10 s per 100,000 items on an idle core; a search of 3 queries for 200 neighbours about half a millisecond.
    """

    def __init__(self, index: Any, dim: int) -> None:
        self._index = index
        self._dim = dim

    @property
    def dim(self) -> int:
        """Numbers a vector."""
        return self._dim

    def __len__(self) -> int:
        """Items indexed."""
        return len(self._index)

    @classmethod
    def build(cls, keys: IntVector, vectors: FloatMatrix) -> Self:
        """Index items; see :class:`wayline.storage.vector_index.VectorIndex`."""
        directions = checked_directions(vectors, where="the vectors to index")
        checked = checked_keys(keys, len(directions))
        rows = last_of_each(checked)
        dim = max(directions.shape[1], 1)
        index = _new(dim)
        if len(rows):
            index.add(checked[rows], directions[rows], threads=1)
        return cls(index, dim)

    def search(self, queries: FloatMatrix, k: int) -> Neighbours:
        """Nearest items; see :class:`wayline.storage.vector_index.VectorIndex`."""
        if k < 1:
            raise InputError(f"Got k = {k}, expected 1 or more neighbours.", field="k")
        directions = checked_directions(queries, where="the queries", dim=self._dim)
        n, count = len(self), min(k, len(self))
        if count == 0 or len(directions) == 0:
            nobody = np.empty((len(directions), 0))
            return ranked(nobody.astype(np.int64), nobody.astype(np.float32), k)
        exhaustive = n <= EXHAUSTIVE_UP_TO or 4 * count >= n
        # usearch widens its beam to `count` by itself when more are asked than EXPANSION_SEARCH
        found = self._index.search(directions, count, threads=1, exact=exhaustive)
        keys = np.asarray(found.keys).reshape(len(directions), -1).astype(np.int64)
        distances = np.asarray(found.distances, np.float32).reshape(len(directions), -1)
        counts = getattr(found, "counts", np.full(len(directions), keys.shape[1]))
        keys[np.arange(keys.shape[1])[None, :] >= np.asarray(counts)[:, None]] = -1
        return ranked(keys, 1 - distances, k)

    def save(self, path: Path) -> None:
        """Write one file, whole or not at all."""
        part = path.with_name(path.name + ".part")
        try:
            with part.open("wb") as file:
                file.write(bytes(self._index.save()))
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFullError(
                    f"No space left to write {path.name}: free some and build again."
                ) from error
            raise

    @classmethod
    def view(cls, path: Path) -> Self:
        """Map a saved index into memory."""
        raise NotImplementedError


def _new(dim: int) -> Any:
    from usearch.index import Index

    return Index(
        ndim=dim,
        metric="ip",  # of unit vectors: the cosine, without a square root for every comparison
        dtype="f16",
        connectivity=CONNECTIVITY,
        expansion_add=EXPANSION_ADD,
        expansion_search=EXPANSION_SEARCH,
        enable_key_lookups=False,  # keys are distinct already; without the table a view opens at once
    )
