"""The next-item model in serving: numpy alone, so that a feed does not load torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from wayline.errors import FileProblemError, InputError
from wayline.retrieval.next_item.config import NextItemConfig
from wayline.retrieval.next_item.sequences import gap_bucket
from wayline.schema import BoolVector, FloatMatrix, FloatVector, IntVector

NORM_EPS = 1e-8
FOLDER = "next_item"  # of a generation
WEIGHTS, SETTINGS = "next_item.safetensors", "next_item.json"
BATCH = 256  # histories at once


class NextItemModel:
    """What a person is likely to want next, from what they wanted so far.

    The forward pass is that of ``NextItemNet`` (tests hold them together to 1e-4); of the last block only the last
    token is computed, since nothing reads the others.

    Parameters
    ----------
    weights : mapping of name to float32 array
        As ``NextItemNet.arrays`` names them.
    known : bool array, shape [N]
        Items that the fit has seen. Others are skipped in histories, never given by ``top``, and score like the mean
        item, which says nothing.
    config : NextItemConfig
    """

    def __init__(
        self, weights: Mapping[str, FloatMatrix], known: BoolVector, config: NextItemConfig
    ) -> None:
        self.config, self.known = config, known
        self._weights = {name: np.asarray(value, np.float32) for name, value in weights.items()}
        item = self._weights["item.weight"]
        if config.temperature:
            item = unit(item)
        if item.shape != (len(known), config.dim):
            raise InputError(
                f"Got item weights of shape {item.shape}, expected ({len(known)}, {config.dim}): fit the model again."
            )
        mean = item[known].mean(0) if known.any() else np.zeros(config.dim, np.float32)
        self.item_vectors: FloatMatrix = np.where(known[:, None], item, mean)
        self._token, self._mean = item * np.float32(np.sqrt(config.dim)), mean

    def arrays(self) -> Mapping[str, FloatMatrix]:
        """Give the weights by their names in ``NextItemNet``; not to be written to."""
        return self._weights

    @property
    def n_items(self) -> int:
        """N, the items the model was fitted over; later positions are unknown to it."""
        return len(self.known)

    def query(
        self, item_idx: IntVector, ts_ms: IntVector | None = None, at_ts_ms: int | None = None
    ) -> FloatVector:
        """Give the query of one history, shape [D]; zeros where it holds no known item.

        Parameters
        ----------
        item_idx : int64 array, shape [S]
            Wanted items, oldest first. Unknown ones are skipped, then the newest ``max_len`` are read.
        ts_ms : int64 array, shape [S], optional
            Needed with time features.
        at_ts_ms : int, optional
            The moment of the request.
        """
        times = None if ts_ms is None else [ts_ms]
        at = None if at_ts_ms is None else np.array([at_ts_ms], np.int64)
        return np.asarray(self.queries([item_idx], times, at)[0], np.float32)

    def queries(
        self,
        histories: Sequence[IntVector],
        ts_ms: Sequence[IntVector] | None = None,
        at_ts_ms: IntVector | None = None,
    ) -> FloatMatrix:
        """Give the queries of many histories, shape [B, D]; see ``query``.

        Raises
        ------
        InputError
            If the model has time features and times are missing.
        """
        if self.config.time_features and (ts_ms is None or at_ts_ms is None):
            raise InputError(
                "Got histories without times, expected ts_ms and at_ts_ms: the model has time features."
            )
        read = [self._readable(items) for items in histories]
        lengths = np.array([len(rows) for rows in read], np.int64)
        out = np.zeros((len(read), self.config.dim), np.float32)
        order = np.argsort(lengths, kind="stable")
        order = order[lengths[order] > 0]
        for begin in range(0, len(order), BATCH):
            which = order[begin : begin + BATCH]
            length = lengths[which]
            items = np.zeros((len(which), int(length.max())), np.int64)
            gaps = np.zeros_like(items)
            for row, b in enumerate(which):
                items[row, : length[row]] = histories[b][read[b]]
                if self.config.time_features and ts_ms is not None and at_ts_ms is not None:
                    until = np.append(ts_ms[b][read[b]][1:], at_ts_ms[b])
                    gaps[row, : length[row]] = gap_bucket(until - ts_ms[b][read[b]])
            out[which] = self._forward(items, gaps, length)
        return out

    def scores(
        self,
        history_item_idx: IntVector,
        item_idx: IntVector,
        ts_ms: IntVector | None = None,
        at_ts_ms: int | None = None,
    ) -> FloatVector:
        """Give the logits of some items after one history, shape [C]."""
        return self.logits(self.query(history_item_idx, ts_ms, at_ts_ms), item_idx)

    def logits(self, query: FloatVector, item_idx: IntVector) -> FloatVector:
        """Give the logits of some items for a query, shape [C]."""
        there = (item_idx >= 0) & (item_idx < self.n_items)
        rows = self.item_vectors[np.where(there, item_idx, 0)]
        return np.where(there, rows @ query, self._mean @ query).astype(np.float32)

    def top(
        self,
        history_item_idx: IntVector,
        k: int,
        exclude: IntVector | None = None,
        ts_ms: IntVector | None = None,
        at_ts_ms: int | None = None,
    ) -> IntVector:
        """Give the k likeliest known items, best first, shape [at most k]; none after a history without known items.

        Parameters
        ----------
        exclude : int64 array, optional
            Item positions to leave out; the history itself is not left out by itself.
        """
        query = self.query(history_item_idx, ts_ms, at_ts_ms)
        if not query.any():
            return np.zeros(0, np.int64)
        logits = np.where(self.known, self.item_vectors @ query, -np.inf)
        if exclude is not None:
            logits[exclude[(exclude >= 0) & (exclude < self.n_items)]] = -np.inf
        k = min(k, self.n_items)
        best = np.argpartition(-logits, k - 1)[:k]
        best = best[np.lexsort((best, -logits[best]))]
        return np.asarray(best[np.isfinite(logits[best])], np.int64)

    def _readable(self, items: IntVector) -> IntVector:
        """Rows of a history that are read: known items first, the newest of these after."""
        rows = np.flatnonzero((items >= 0) & (items < self.n_items))
        return rows[self.known[items[rows]]][-self.config.max_len :]

    def _forward(self, items: IntVector, gaps: IntVector, length: IntVector) -> FloatMatrix:
        w = self._weights
        s = items.shape[1]
        x = self._token[items] + w["position.weight"][:s]
        if self.config.time_features:
            x = x + w["gap.weight"][gaps]
        place = np.arange(s)
        later = place[None] > place[:, None]  # [S, S]
        for block in range(self.config.blocks - 1):
            x = self._block(f"blocks.{block}.", x, x, later)
        end = x[np.arange(len(x)), length - 1][:, None]  # [B, 1, D]
        beyond = (place >= length[:, None])[:, None, None]  # [B, 1, 1, S]
        x = self._block(f"blocks.{self.config.blocks - 1}.", end, x, beyond)
        out = self._norm("norm.", x[:, 0])
        return unit(out) / np.float32(self.config.temperature) if self.config.temperature else out

    def _block(
        self, name: str, of: FloatMatrix, over: FloatMatrix, hidden: BoolVector
    ) -> FloatMatrix:
        """Attend ``of [B, T, D]`` to ``over [B, S, D]``; ``hidden [.., T, S]`` is true for keys not to be seen."""
        b, t, d = of.shape
        h = self.config.heads
        q_in = self._norm(name + "norm_query.", of)
        q = self._linear(name + "query.", q_in).reshape(b, t, h, d // h).transpose(0, 2, 1, 3)
        kv = self._linear(name + "key_value.", over).reshape(b, -1, 2, h, d // h)
        near = q @ kv[:, :, 0].transpose(0, 2, 3, 1) / np.float32(np.sqrt(d // h))  # [B, H, T, S]
        near = np.where(hidden, np.float32(-np.inf), near)
        near = np.exp(near - near.max(-1, keepdims=True))
        near /= near.sum(-1, keepdims=True)
        found = (near @ kv[:, :, 1].transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3).reshape(b, t, d)
        x = self._norm(name + "norm_feed.", q_in + self._linear(name + "out.", found))
        return x + self._linear(
            name + "feed_out.", np.maximum(self._linear(name + "feed_in.", x), 0)
        )

    def _linear(self, name: str, x: FloatMatrix) -> FloatMatrix:
        return np.asarray(
            x @ self._weights[name + "weight"].T + self._weights[name + "bias"], np.float32
        )

    def _norm(self, name: str, x: FloatMatrix) -> FloatMatrix:
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(NORM_EPS))
        return np.asarray(
            x * self._weights[name + "weight"] + self._weights[name + "bias"], np.float32
        )

    def save(self, folder: Path) -> None:
        """Write ``next_item.safetensors`` and ``next_item.json``."""
        from safetensors.numpy import save_file

        arrays = {name: np.ascontiguousarray(value) for name, value in self._weights.items()}
        save_file({**arrays, "known": self.known}, folder / WEIGHTS)
        (folder / SETTINGS).write_text(json.dumps(asdict(self.config), indent=2) + "\n", "utf-8")

    @classmethod
    def load(cls, folder: Path) -> NextItemModel:
        """Read what ``save`` wrote.

        Raises
        ------
        FileProblemError
            If a file is missing, cut short, or does not hold these weights.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            arrays = load_file(folder / WEIGHTS)
            config = NextItemConfig.of(json.loads((folder / SETTINGS).read_text("utf-8")))
            known = arrays.pop("known")
            _expect_shapes(arrays, config, len(known))
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise FileProblemError(
                f"Got a next-item model in {folder.name} that cannot be read ({error}), expected the files that "
                "save() wrote: build again."
            ) from error
        return cls(arrays, known, config)


def unit(rows: FloatMatrix) -> FloatMatrix:
    """Scale rows to length 1; a row of zeros stays."""
    return np.asarray(
        rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12), np.float32
    )


def _expect_shapes(arrays: Mapping[str, FloatMatrix], config: NextItemConfig, n_items: int) -> None:
    """Raise ValueError unless these are the weights that the settings speak of."""
    d = config.dim
    shapes = {
        "item.weight": (n_items, d),
        "position.weight": (config.max_len, d),
        "norm.weight": (d,),
        "norm.bias": (d,),
    }
    for b in range(config.blocks):
        for part in ("query", "out", "feed_in", "feed_out"):
            shapes[f"blocks.{b}.{part}.weight"] = (d, d)
            shapes[f"blocks.{b}.{part}.bias"] = (d,)
        shapes[f"blocks.{b}.key_value.weight"] = (2 * d, d)
        shapes[f"blocks.{b}.key_value.bias"] = (2 * d,)
        for norm in ("norm_query", "norm_feed"):
            shapes[f"blocks.{b}.{norm}.weight"] = (d,)
            shapes[f"blocks.{b}.{norm}.bias"] = (d,)
    for name, shape in shapes.items():
        if name not in arrays or arrays[name].shape != shape:
            got = arrays[name].shape if name in arrays else "nothing"
            raise ValueError(f"{name}: got {got}, expected {shape}")
    if bad := [name for name, value in arrays.items() if not np.isfinite(value).all()]:
        raise ValueError(f"{bad[0]} holds NaN or infinity")
