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
from wayline.ranking.scorer.transact_native import LOG2_E
from wayline.ranking.scorer.transact_native import _fill as fill_layer
from wayline.ranking.scorer.transact_native import _Layer as LayerStruct
from wayline.ranking.scorer.transact_native import _on_threads as on_threads
from wayline.ranking.scorer.transact_v2_weights import V2Weights
from wayline.ranking.selection import IndexMatrix, RequestTokens
from wayline.sequences.select import Table

SOURCE = "transact_v2.cpp"
_SIXTEEN = 16  # the gather turns features to lanes so many at a time


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
                "token", "position", "candidate", "token_row", "layer", "largest", "next",
            )
        ),
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

    ``item`` to ``candidate_bias`` are the weights' shares, queries times log2(e). ``held`` are the tensors that
    ``layers`` points into.
    """

    run: Any
    project: Any
    width: int
    hidden: int
    causal: bool
    item: Tensor
    action: Tensor
    surface: Tensor
    position: Tensor
    candidate: Tensor
    candidate_bias: Tensor
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
            self.item.data_ptr(), self.action.data_ptr(), self.surface.data_ptr(),
            token.data_ptr(), ctypes.addressof(place),
        )  # fmt: skip
        on_threads(lambda: _call(self.project, given), threads)
        return token

    def encode(
        self, token: Tensor, candidate_vector: Tensor, token_row: IndexMatrix, *, threads: int
    ) -> Tensor:
        """The largest value of each feature over a candidate's tokens; zeros where there are none.

        Parameters
        ----------
        token : float32, shape [N, 3 d]
            From :meth:`project_tokens`.
        candidate_vector : float32, shape [C, D]
        token_row : int32 array, shape [C, T]
            Below N; -1 is padding.
        threads : int

        Returns
        -------
        float32, shape [C, d]
        """
        count, places = token_row.shape
        row = np.ascontiguousarray(token_row, np.int32)
        candidate = candidate_vector @ self.candidate + self.candidate_bias
        largest = torch.empty(count, self.width)
        place = ctypes.c_int64(0)
        given = _Request(
            places, self.width, self.hidden, len(self.layers), count, int(self.causal),
            token.data_ptr(), self.position.data_ptr(), candidate.data_ptr(), _address(row),
            ctypes.addressof(self.layers), largest.data_ptr(), ctypes.addressof(place),
        )  # fmt: skip
        on_threads(lambda: _call(self.run, given), max(1, min(threads, count)))
        return largest


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
    return V2Kernel(
        run=run,
        project=project,
        width=width,
        hidden=len(weights.layers[0].up),
        causal=weights.causal,
        item=(weights.item * scale[width:]).contiguous(),
        action=weights.action * scale,
        surface=weights.surface * scale,
        position=weights.position * scale,
        candidate=weights.candidate * scale,
        candidate_bias=weights.candidate_bias * scale,
        layers=layers,
        held=tuple(held),
    )
