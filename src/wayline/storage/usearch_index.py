"""The embedded ``VectorIndex``: usearch's HNSW graph in one memory-mapped file."""

from __future__ import annotations

import errno
import os
import struct
import threading
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from wayline.errors import DiskFullError, FileProblemError, InputError
from wayline.schema import FloatMatrix, IntVector
from wayline.storage.vector_index import (
    NO_KEY,
    Neighbours,
    checked_directions,
    checked_keys,
    last_of_each,
    ranked,
)

# Chosen by measurement (docs/embeddings.md, "The index").
CONNECTIVITY = 16
EXPANSION_ADD = 64
EXPANSION_SEARCH = 200
EXHAUSTIVE_UP_TO = 1000
HEADER = struct.Struct("<16s5q8x")  # magic, dim, groups, items, graph's place, graph's bytes
MAGIC = b"wayline-hnsw-1\n\0"


class UsearchIndex:
    """Hierarchical navigable small worlds (Malkov & Yashunin 2018), vectors stored as float16.

    Three choices, each measured. Float16, because int8 costs two points of recall@100 and saves a
    fifth of the file. One thread adds, in ascending order of key, because with two the graph
    depends on who came first. And items with the same vector (it happens: two articles read by
    one person, two products of one name) share one node: a crowd of equal vectors links only to
    itself, and a search that enters it finds nothing else.

    A search of 3 queries for 200 neighbours among 100,000 items takes about half a millisecond.
    """

    def __init__(self, graph: Any, dim: int, starts: IntVector, members: IntVector) -> None:
        self._graph = graph
        self._dim = dim
        self._starts = starts  # [G + 1]: node g stands for members[starts[g] : starts[g + 1]]
        self._members = members  # [N] keys, ascending within a node
        # usearch lets go of the interpreter while it works, and numbers its scratch spaces by
        # worker: that two callers never share one is not documented, so they take turns
        self._turn = threading.Lock()

    @property
    def dim(self) -> int:
        """Numbers a vector."""
        return self._dim

    def __len__(self) -> int:
        """Items indexed, each key once."""
        return len(self._members)

    @classmethod
    def build(cls, keys: IntVector, vectors: FloatMatrix) -> Self:
        """Index items; see :class:`wayline.storage.vector_index.VectorIndex`."""
        directions = checked_directions(vectors, where="the vectors to index")
        checked = checked_keys(keys, len(directions))
        rows = last_of_each(checked)
        stored, members = directions[rows].astype(np.float16), checked[rows]
        first, order, starts = _equal_rows(stored)
        dim = max(directions.shape[1], 1)
        graph = _new_graph(dim)
        if len(first):
            graph.add(np.arange(len(first)), stored[first], threads=1)
        return cls(graph, dim, starts, members[order])

    def search(self, queries: FloatMatrix, k: int) -> Neighbours:
        """Nearest items; see :class:`wayline.storage.vector_index.VectorIndex`."""
        if k < 1:
            raise InputError(f"Got k = {k}, expected 1 or more neighbours.", field="k")
        directions = checked_directions(queries, where="the queries", dim=self._dim)
        n_nodes, n_queries = len(self._starts) - 1, len(directions)
        count = min(k, n_nodes)
        if count == 0 or n_queries == 0:
            nobody = np.empty((n_queries, 0), dtype=np.int64)
            return ranked(nobody, nobody.astype(np.float32), k)
        exhaustive = n_nodes <= EXHAUSTIVE_UP_TO or 4 * count >= n_nodes
        # usearch widens its beam to `count` by itself where that is more than EXPANSION_SEARCH
        with self._turn:
            found = self._graph.search(directions, count, threads=1, exact=exhaustive)
        nodes = np.asarray(found.keys).reshape(n_queries, count).astype(np.int64)
        similarities = 1 - np.asarray(found.distances, np.float32).reshape(n_queries, count)
        reached = np.asarray(getattr(found, "counts", count)).reshape(-1, 1)
        nodes[np.arange(count)[None, :] >= reached] = NO_KEY
        return ranked(*self._items_of(nodes, similarities, k), k)

    def save(self, path: Path) -> None:
        """Write one file, whole or not at all."""
        graph = self._graph.save()
        place = HEADER.size + 8 * (len(self._starts) + len(self._members))
        header = HEADER.pack(
            MAGIC, self._dim, len(self._starts) - 1, len(self._members), place, len(graph)
        )
        part = path.with_name(path.name + ".part")
        try:
            with part.open("wb") as file:
                for piece in (header, self._starts.tobytes(), self._members.tobytes(), graph):
                    file.write(piece)
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
        if not path.is_file():
            raise FileProblemError(f"There is no index file {path.name}: build again.")
        if path.stat().st_size < HEADER.size:
            raise FileProblemError(f"{path.name} is not a whole index file: build again.")
        file = np.memmap(path, dtype=np.uint8, mode="r")
        magic, dim, n_nodes, n_items, place, size = HEADER.unpack(file[: HEADER.size].tobytes())
        if magic != MAGIC or place + size != len(file):
            raise FileProblemError(f"{path.name} is not a whole index file: build again.")
        numbers = file[HEADER.size : place].view(np.int64)
        graph = _new_graph(dim)
        try:
            graph.view(file[place:])
        except (RuntimeError, ValueError) as error:
            raise FileProblemError(
                f"{path.name} is not a whole index file ({error}): build again."
            ) from error
        return cls(graph, dim, numbers[: n_nodes + 1], numbers[n_nodes + 1 :][:n_items])

    def _items_of(
        self, nodes: IntVector, similarities: FloatMatrix, k: int
    ) -> tuple[IntVector, FloatMatrix]:
        """Put each node's items in its place: [Q, count] nodes -> [Q, wider] keys."""
        if len(self._members) == len(self._starts) - 1:  # no two items share a node
            return np.where(nodes == NO_KEY, NO_KEY, self._members[nodes]), similarities
        rows = [
            np.concatenate(
                [self._members[:0]]
                + [self._members[self._starts[g] :][: self._size(g, k)] for g in row]
            )
            for row in (row[row != NO_KEY] for row in nodes)
        ]
        sizes = [[self._size(g, k) for g in row if g != NO_KEY] for row in nodes]
        width = max(len(row) for row in rows)
        keys = np.full((len(rows), width), NO_KEY, dtype=np.int64)
        spread = np.full((len(rows), width), -np.inf, dtype=np.float32)
        for q, row in enumerate(rows):
            keys[q, : len(row)] = row
            spread[q, : len(row)] = np.repeat(similarities[q, : len(sizes[q])], sizes[q])
        return keys, spread

    def _size(self, node: int, k: int) -> int:
        """How many of a node's items an answer of ``k`` can hold."""
        return min(int(self._starts[node + 1] - self._starts[node]), k)


def _equal_rows(
    rows: npt.NDArray[np.float16],
) -> tuple[IntVector, IntVector, IntVector]:
    """Group equal rows: (first row of each group, all rows by group, where each group starts)."""
    raw = np.ascontiguousarray(rows + np.float16(0))  # -0 and 0 are the same number, not bits
    as_bytes = raw.view(f"V{raw.dtype.itemsize * max(raw.shape[1], 1)}").reshape(-1)
    _, first, group = np.unique(as_bytes, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))  # groups in order of their first row
    group = rank[group]
    starts = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=len(first)))])
    return np.sort(first), np.argsort(group, kind="stable"), starts.astype(np.int64)


def _new_graph(dim: int) -> Any:
    from usearch.index import Index

    return Index(
        ndim=dim,
        metric="ip",  # of unit vectors: the cosine, without a root for every comparison
        dtype="f16",
        connectivity=CONNECTIVITY,
        expansion_add=EXPANSION_ADD,
        expansion_search=EXPANSION_SEARCH,
        enable_key_lookups=False,  # keys are distinct; without the table a view opens at once
    )
