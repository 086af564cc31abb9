"""The compiled TransAct V2 encoder: packs weights and requests for ``transact_v2.cpp`` and calls it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wayline.ranking.scorer import native
from wayline.ranking.scorer.transact_native import LOG2_E, LayerStruct, fill_layer, on_threads
from wayline.ranking.scorer.transact_v2_weights import V2Weights
from wayline.ranking.selection import IndexMatrix, RequestTokens
from wayline.sequences.select import Table

SOURCE = "transact_v2.cpp"
_SIXTEEN = 16  # the gather turns features to lanes so many at a time
_QUICK = 2_000  # tokens: below, starting threads takes longer than they save


class _Request(ctypes.Structure):
    """``WaylineV2Request`` of transact_v2.cpp."""

    _fields_ = (
        *(
            (name, ctypes.c_int32)
            for name in ("places", "width", "hidden", "layers", "candidates", "causal")
        ),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "token", "position", "vector", "candidate", "candidate_bias", "token_row", "layer",
                "pool", "pool_bias", "gain", "shift", "out", "next",
            )
        ),
        ("epsilon", ctypes.c_float),
    )  # fmt: skip


class _Tokens(ctypes.Structure):
    """``WaylineV2Tokens`` of transact_v2.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("tokens", "items")),
        ("dim", ctypes.c_int32),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "table", "item_idx", "action_bits", "surface", "item", "action", "surface_of",
                "token", "next",
            )
        ),
    )  # fmt: skip


@dataclass(frozen=True)
class V2Kernel:
    """A compiled encoder with a module's weights; safe to call from several threads.

    ``parts`` are the weights' shares, queries times log2(e), and the pooling, by the names of the structures' fields;
    ``held`` are the tensors that ``layers`` points into.
    """

    run: Any
    project: Any
    width: int
    hidden: int
    causal: bool
    parts: dict[str, Tensor]
    epsilon: float
    layers: Any
    held: tuple[Tensor, ...]

    def project_tokens(self, tokens: RequestTokens, table: Table, *, threads: int) -> Tensor:
        """Shares of all tokens of a request: float32 ``[N, 3 d]``.

        The caller has seen to it that bits and surfaces are ones the module knows.
        """
        token = torch.empty(len(tokens), 3 * self.width)
        columns: list[npt.NDArray[Any]] = [
            np.ascontiguousarray(table),
            np.ascontiguousarray(tokens.item_idx, np.int64),
            np.ascontiguousarray(tokens.action_bits, np.int64),
            np.ascontiguousarray(tokens.surface, np.int64),
        ]
        place = ctypes.c_int64(0)
        given = _Tokens(
            len(tokens), len(table), table.shape[1], *(_address(column) for column in columns),
            *self._pointers("item", "action", "surface"), token.data_ptr(), ctypes.addressof(place),
        )  # fmt: skip
        on_threads(lambda: _call(self.project, given), threads if len(tokens) > _QUICK else 1)
        return token

    def encode(
        self, token: Tensor, candidate_vector: Tensor, token_row: IndexMatrix, *, threads: int
    ) -> Tensor:
        """All layers, the pooled row and its norm: what the module gives, ``[C, d]``.

        Parameters
        ----------
        token : float32, shape [N, 3 d]
            From :meth:`project_tokens`.
        candidate_vector : float32, shape [C, D]
            Contiguous.
        token_row : int32 array, shape [C, T]
            Below N; -1 is padding.
        threads : int
        """
        count, places = token_row.shape
        row = np.ascontiguousarray(token_row, np.int32)
        out = torch.empty(count, self.width)
        place = ctypes.c_int64(0)
        given = _Request(
            places, self.width, self.hidden, len(self.layers), count, int(self.causal),
            token.data_ptr(), *self._pointers("position"), candidate_vector.data_ptr(),
            *self._pointers("candidate", "candidate_bias"), _address(row),
            ctypes.addressof(self.layers), *self._pointers("pool", "pool_bias", "gain", "shift"),
            out.data_ptr(), ctypes.addressof(place), self.epsilon,
        )  # fmt: skip
        on_threads(lambda: _call(self.run, given), max(1, min(threads, count)))
        return out

    def _pointers(self, *names: str) -> list[int | None]:
        """Addresses of parts; null where there is none."""
        found = (self.parts.get(name) for name in names)
        return [None if tensor is None else tensor.data_ptr() for tensor in found]


def _address(array: npt.NDArray[Any]) -> int:
    return int(array.ctypes.data)


def _call(function: Any, given: ctypes.Structure) -> None:
    if function(ctypes.byref(given)) != 0:
        raise MemoryError("The scorer found no memory for one candidate's activations.")


def make_v2_kernel(weights: V2Weights, dtype: torch.dtype) -> V2Kernel | None:
    """Compile or load the kernel and pack the weights; None if there is none for this type or width here."""
    library = native.load(SOURCE)
    if library is None or weights.width % _SIXTEEN:
        return None
    if dtype == torch.bfloat16 and not library.wayline_v2_has_bfloat16():
        return None
    run = getattr(library, f"wayline_v2_{str(dtype).removeprefix('torch.')}")
    project = library.wayline_v2_tokens
    run.restype = project.restype = ctypes.c_int
    held: list[Tensor] = []
    layers = (LayerStruct * len(weights.layers))()
    for place, layer in zip(layers, weights.layers, strict=True):
        fill_layer(place, layer, library.wayline_v2_rows(), dtype, held)
    width = weights.width
    scale = torch.ones(3 * width)
    scale[width : 2 * width] = LOG2_E  # the kernel's softmax is one of powers of two
    parts = {
        "item": weights.item * scale[width:],
        **{
            name: getattr(weights, name) * scale
            for name in ("action", "surface", "position", "candidate", "candidate_bias")
        },
        "pool": weights.pooled[0].T,
        "pool_bias": weights.pooled[1],
    }
    if weights.norm is not None:
        parts["gain"], parts["shift"], _ = weights.norm
    return V2Kernel(
        run=run,
        project=project,
        width=width,
        hidden=len(weights.layers[0].up),
        causal=weights.causal,
        parts={name: tensor.contiguous() for name, tensor in parts.items()},
        epsilon=0.0 if weights.norm is None else weights.norm[2],
        layers=layers,
        held=tuple(held),
    )
