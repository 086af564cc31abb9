"""The compiled TransAct encoder: packs weights and requests for ``transact.cpp`` and calls it."""

from __future__ import annotations

import ctypes
import math
import threading
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from wayline.ranking.scorer import native
from wayline.ranking.scorer.transact_weights import Layer, Request, Weights

LOG2_E = 1.0 / math.log(2.0)
SOURCE = "transact.cpp"
_LEFT_SIDES = ("q", "k", "v", "o", "w1", "w2")
_FLOATS = ("q_bias", "o_bias", "b1", "b2", "gain1", "shift1", "gain2", "shift2")


class _Layer(ctypes.Structure):
    """``WaylineLayer`` of transact.cpp."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in (*_LEFT_SIDES, *_FLOATS)),
        ("epsilon1", ctypes.c_float),
        ("epsilon2", ctypes.c_float),
    )


class _Request(ctypes.Structure):
    """``WaylineRequest`` of transact.cpp."""

    _fields_ = (
        *(
            (name, ctypes.c_int32)
            for name in (
                "tokens", "width", "heads", "hidden", "layers", "candidates", "first", "padded",
            )
        ),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "shared", "value", "residual", "bias", "constant", "layer", "rows", "largest",
            )
        ),
        ("rows_stride", ctypes.c_int64),
        ("next", ctypes.c_void_p),
    )  # fmt: skip


@dataclass(frozen=True)
class Kernel:
    """A compiled encoder with a module's weights; safe to call from several threads.

    ``held`` are the tensors that ``layers`` points into.
    """

    run: Any
    dtype: torch.dtype
    lanes: int
    rows: int
    width: int
    heads: int
    hidden: int
    layers: Any
    held: tuple[Tensor, ...]

    def encode(
        self, request: Request, out: Tensor, largest: Tensor, *, first_k: int, threads: int
    ) -> None:
        """Write the first rows into the columns of ``out`` from 0 on, and the largest values.

        Parameters
        ----------
        request : Request
            With at least one token.
        out : float32, shape [C, >= first_k * d]
            Rows beyond the tokens are left as they are.
        largest : float32, shape [C, d]
        first_k, threads : int
        """
        tokens, count = len(request.tokens), len(request.constant)
        padded = -(-tokens // self.lanes) * self.lanes
        extra = padded - tokens
        shared = _padded(request.shared.mT * LOG2_E, extra)  # [H, key, query]
        value = _padded(functional.pad(request.value, (0, 0, 0, self.rows)), extra).to(self.dtype)
        residual = _padded(request.tokens.T, extra)
        bias = (request.bias * LOG2_E).contiguous()
        constant = request.constant.contiguous()
        place = ctypes.c_int64(0)
        given = _Request(
            tokens, self.width, self.heads, self.hidden, len(self.layers), count, first_k, padded,
            shared.data_ptr(), value.data_ptr(), residual.data_ptr(), bias.data_ptr(),
            constant.data_ptr(), ctypes.addressof(self.layers), out.data_ptr(), largest.data_ptr(),
            out.stride(0), ctypes.addressof(place),
        )  # fmt: skip
        _on_threads(lambda: self._call(given), min(threads, count))

    def _call(self, given: _Request) -> None:
        if self.run(ctypes.byref(given)) != 0:
            raise MemoryError("The scorer found no memory for one candidate's activations.")


def _padded(x: Tensor, extra: int) -> Tensor:
    """Rows with ``extra`` zeros behind them, one after another in memory (``pad`` by 0 keeps a transposed order)."""
    return functional.pad(x, (0, extra)).contiguous()


def _on_threads(work: Any, threads: int) -> None:
    """Run ``work`` on this thread and ``threads - 1`` others; they share its candidates."""
    failed: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # raised again below, on the caller's thread
            failed.append(error)

    others = [threading.Thread(target=guarded) for _ in range(threads - 1)]
    for other in others:
        other.start()
    guarded()
    for other in others:
        other.join()
    if failed:
        raise failed[0]


def make_kernel(weights: Weights, dtype: torch.dtype) -> Kernel | None:
    """Compile or load the kernel and pack the weights; None if there is none for this type here."""
    library = native.load(SOURCE)
    if library is None:
        return None
    if dtype == torch.bfloat16:
        odd = (weights.width // weights.heads) % 2  # bf16 rows go in pairs
        if odd or not library.wayline_has_bfloat16():
            return None
    run = getattr(library, f"wayline_transact_{str(dtype).removeprefix('torch.')}")
    run.restype = ctypes.c_int
    rows = library.wayline_rows()
    held: list[Tensor] = []
    layers = (_Layer * len(weights.layers))()
    for place, layer in zip(layers, weights.layers, strict=True):
        _fill(place, layer, rows, dtype, held)
    return Kernel(
        run=run,
        dtype=dtype,
        lanes=library.wayline_lanes(),
        rows=rows,
        width=weights.width,
        heads=weights.heads,
        hidden=len(weights.layers[0].up),
        layers=layers,
        held=tuple(held),
    )


def _fill(place: _Layer, layer: Layer, rows: int, dtype: torch.dtype, held: list[Tensor]) -> None:
    """Point a structure at packed copies of a layer's weights, which go to ``held``."""
    left = {
        "q": layer.query * LOG2_E, "k": layer.key, "v": layer.value, "o": layer.out,
        "w1": layer.up, "w2": layer.down,
    }  # fmt: skip
    floats = {
        "q_bias": layer.query_bias * LOG2_E, "o_bias": layer.out_bias,
        "b1": layer.up_bias, "b2": layer.down_bias,
        "gain1": layer.norm1[0], "shift1": layer.norm1[1],
        "gain2": layer.norm2[0], "shift2": layer.norm2[1],
    }  # fmt: skip
    packed = {
        **{name: None if x is None else pack_left(x, rows, dtype) for name, x in left.items()},
        **{name: functional.pad(x, (0, -len(x) % rows)) for name, x in floats.items()},
    }
    for name, tensor in packed.items():
        if tensor is not None:
            held.append(tensor)
            setattr(place, name, tensor.data_ptr())
    place.epsilon1, place.epsilon2 = layer.norm1[2], layer.norm2[2]


def pack_left(weight: Tensor, rows: int, dtype: torch.dtype) -> Tensor:
    """A weight ``[out, in]`` as a product's left side: ``[in / pair, out padded to rows, pair]``.

    >>> pack_left(torch.tensor([[1.0, 2.0]]), 2, torch.float32)[:, :, 0].tolist()
    [[1.0, 0.0], [2.0, 0.0]]
    """
    pair = 2 if dtype == torch.bfloat16 else 1
    out, width = weight.shape
    full = functional.pad(weight, (0, -width % pair, 0, -out % rows))
    return full.view(len(full), -1, pair).transpose(0, 1).to(dtype).contiguous()
