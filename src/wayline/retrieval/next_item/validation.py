"""Where the item that came next stands among the whole catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wayline.retrieval.next_item.inference import NextItemModel
from wayline.retrieval.next_item.sequences import Sequences
from wayline.schema import IntVector

CHUNK = 512  # histories scored against the catalogue at once


@dataclass(frozen=True, slots=True)
class Held:
    """Histories with the item that followed each.

    Attributes
    ----------
    histories, ts_ms : list of int64 arrays
        Oldest first.
    target_idx, at_ts_ms : int64 arrays, shape [B]
        What followed, and when.
    """

    histories: Sequence[IntVector]
    ts_ms: Sequence[IntVector]
    target_idx: IntVector
    at_ts_ms: IntVector

    def __len__(self) -> int:
        return len(self.target_idx)

    @classmethod
    def last_of(cls, sequences: Sequences, users: IntVector) -> Held:
        """Hold out the newest item of some people."""
        begin, last = sequences.begin[users], sequences.begin[users + 1] - 1
        return cls(
            [sequences.item_idx[b:e] for b, e in zip(begin, last, strict=True)],
            [sequences.ts_ms[b:e] for b, e in zip(begin, last, strict=True)],
            sequences.item_idx[last],
            sequences.ts_ms[last],
        )


def target_ranks(model: NextItemModel, held: Held) -> npt.NDArray[np.float64]:
    """Give the place of each target in the full catalogue without the items of its history; 0 is first.

    Ties count half, so that a model that scores everything alike gains nothing.
    """
    ranks = np.zeros(len(held))
    for begin in range(0, len(held), CHUNK):
        rows = range(begin, min(begin + CHUNK, len(held)))
        seen = [held.histories[b] for b in rows]
        query = model.queries(seen, [held.ts_ms[b] for b in rows], held.at_ts_ms[begin:][:CHUNK])
        logits = query @ model.item_vectors.T
        place = np.arange(len(rows))
        target = held.target_idx[begin:][:CHUNK]
        wanted = logits[place, target][:, None].copy()
        logits[np.repeat(place, [len(items) for items in seen]), np.concatenate(seen)] = -np.inf
        logits[place, target] = wanted[:, 0]
        above, equal = (logits > wanted).sum(1), (logits == wanted).sum(1) - 1
        ranks[begin : begin + len(rows)] = above + equal / 2
    return ranks


def hit_and_gain(ranks: npt.NDArray[np.float64], k: int = 10) -> tuple[float, float]:
    """Give HR@k and NDCG@k (full) of one target a person.

    >>> hit_and_gain(np.array([0.0, 2.0, 99.0]))
    (0.6666666666666666, 0.5)
    """
    hit = ranks < k
    return float(hit.mean()), float((hit / np.log2(ranks + 2)).mean())
