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
from wayline.ranking.scorer.transact_weights import Layer, Weights

LOG2_E = 1.0 / math.log(2.0)
SOURCE = "transact.cpp"

_QUICK = 3_000  # candidates x tokens: below, starting threads takes longer than they save


def _structure(
    name: str, integers: str, pointers: str, *others: tuple[str, type[Any]]
) -> type[ctypes.Structure]:
    """A structure of transact.cpp: 32-bit integers, then others, then pointers."""
    fields = [
        *((field, ctypes.c_int32) for field in integers.split()),
        *others,
        *((field, ctypes.c_void_p) for field in pointers.split()),
    ]
    return type(name, (ctypes.Structure,), {"_fields_": fields})


_LEFT_SIDES = "q k v o w1 w2"
_FLOATS = "q_bias o_bias b1 b2 gain1 shift1 gain2 shift2"
_Model = _structure(
    "WaylineModel",
    "width vector heads hidden layers first out_width",
    "layer product product_bias value candidate_key candidate_add add_bias pooled pooled_bias gain shift",
    ("epsilon", ctypes.c_float),
)


class LayerStruct(ctypes.Structure):
    """``WaylineLayer`` of transact.cpp and transact_v2.cpp."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in f"{_LEFT_SIDES} {_FLOATS}".split()),
        ("epsilon1", ctypes.c_float),
        ("epsilon2", ctypes.c_float),
    )


class _Request(ctypes.Structure):
    _fields_ = (
        ("model", ctypes.c_void_p),
        *((name, ctypes.c_int32) for name in ("tokens", "padded", "candidates", "group")),
        *(
            (name, ctypes.c_void_p)
            for name in ("token", "candidate", "shared", "value", "query", "out", "next")
        ),
    )


@dataclass(frozen=True)
class Kernel:
    """A compiled encoder with a module's weights; safe to call from several threads.

    ``held`` is what the structures point into.
    """

    weights: Weights
    dtype: torch.dtype
    prepare: Any
    run: Any
    lanes: int
    rows: int
    group: int
    model: Any
    held: tuple[Any, ...]

    def score(self, tokens: Tensor, candidate_vector: Tensor, *, threads: int) -> Tensor:
        """One row a candidate, as the module gives it.

        Parameters
        ----------
        tokens : float32, shape [S, d]
            Visible tokens, S >= 1, with zeros where the candidate goes.
        candidate_vector : float32, shape [C, D]
            Candidates.
        threads : int
            At most so many.

        Returns
        -------
        float32, shape [C, out_dim]

        Raises
        ------
        MemoryError
            If there is no room for one candidate's activations.
        """
        length, count, width = len(tokens), len(candidate_vector), self.weights.width
        padded, keys = _up(length, self.lanes), _up(length, self.rows)
        # one row more than there are features: a product's last tile reads past the last token
        token = torch.zeros(width + 1, padded)
        token[:width, :length] = tokens.T
        candidate = candidate_vector.contiguous()
        shared = torch.empty(self.weights.heads, keys, padded)
        value = torch.zeros(width + self.rows, padded, dtype=self.dtype)
        query = torch.empty(_up(width, self.rows), padded)
        out = torch.empty(count, self.weights.out_dim)
        threads = min(threads, 1 + length * count // _QUICK)
        group = max(1, min(self.group, count // (4 * threads)))
        place = ctypes.c_int64(0)
        request = _Request(
            ctypes.addressof(self.model), length, padded, count, group,
            *(x.data_ptr() for x in (token, candidate, shared, value, query, out)),
            ctypes.addressof(place),
        )  # fmt: skip
        self.prepare(ctypes.byref(request))
        on_threads(lambda: self._run(request), threads)
        return out

    def _run(self, request: _Request) -> None:
        if self.run(ctypes.byref(request)) != 0:
            raise MemoryError("The scorer found no memory for one candidate's activations.")


def _up(n: int, step: int) -> int:
    return -(-n // step) * step


def on_threads(work: Any, threads: int) -> None:
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
    name = str(dtype).removeprefix("torch.")
    prepare = getattr(library, f"wayline_transact_prepare_{name}")
    prepare.restype = None
    run = getattr(library, f"wayline_transact_score_{name}")
    run.restype = ctypes.c_int
    lanes, rows, group = (getattr(library, f"wayline_{x}")() for x in ("lanes", "rows", "group"))
    layers = (LayerStruct * len(weights.layers))()
    held: list[Any] = [layers]
    for place, layer in zip(layers, weights.layers, strict=True):
        fill_layer(place, layer, rows, dtype, held)
    model = _Model(
        width=weights.width,
        vector=weights.item_dim,
        heads=weights.heads,
        hidden=len(weights.layers[0].up),
        layers=len(layers),
        first=weights.first_k,
        out_width=weights.out_dim,
        epsilon=weights.norm[2] if weights.norm else 0.0,
        layer=ctypes.addressof(layers),
    )
    _point(model, _model_parts(weights, lanes, rows), held)
    return Kernel(weights, dtype, prepare, run, lanes, rows, group, model, tuple(held))


def _point(place: ctypes.Structure, parts: dict[str, Tensor | None], held: list[Any]) -> None:
    """Point a structure's fields at tensors, and keep these alive in ``held``."""
    for name, tensor in parts.items():
        if tensor is not None:
            held.append(tensor.contiguous())
            setattr(place, name, held[-1].data_ptr())


def fill_layer(
    place: LayerStruct, layer: Layer, rows: int, dtype: torch.dtype, held: list[Any]
) -> None:
    """Point a layer's structure at packed copies of its weights."""
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
    packed = {name: None if x is None else pack_left(x, rows, dtype) for name, x in left.items()}
    _point(place, {**packed, **{name: _pad(x, rows) for name, x in floats.items()}}, held)
    place.epsilon1, place.epsilon2 = layer.norm1[2], layer.norm2[2]


def _model_parts(weights: Weights, lanes: int, rows: int) -> dict[str, Tensor | None]:
    first = weights.layers[0]
    product = weights.product * LOG2_E
    pooled, pooled_bias = weights.pooled or (None, None)
    gain, shift, _ = weights.norm or (None, None, 0.0)
    return {
        "product": torch.stack([pack_left(x, rows, torch.float32) for x in product]),
        "product_bias": _pad(weights.product_bias * LOG2_E, rows),
        "value": pack_left(first.value, rows, torch.float32),
        "candidate_key": _pad(product[:, :, weights.columns].mT, lanes),
        "candidate_add": _pad(weights.candidate.T, lanes),
        "add_bias": _pad(first.out_bias, lanes),
        "pooled": None if pooled is None else _pad(pooled.T, lanes),
        "pooled_bias": None if pooled_bias is None else _pad(pooled_bias, lanes),
        "gain": gain,
        "shift": shift,
    }


def _pad(x: Tensor, step: int) -> Tensor:
    """The last dimension filled up with zeros to a multiple of ``step``."""
    return functional.pad(x, (0, -x.shape[-1] % step))


def pack_left(weight: Tensor, rows: int, dtype: torch.dtype) -> Tensor:
    """A weight ``[out, in]`` as a product's left side: ``[in / pair, out padded to rows, pair]``.

    >>> pack_left(torch.tensor([[1.0, 2.0]]), 2, torch.float32)[:, :, 0].tolist()
    [[1.0, 0.0], [2.0, 0.0]]
    """
    pair = 2 if dtype == torch.bfloat16 else 1
    out, width = weight.shape
    full = functional.pad(weight, (0, -width % pair, 0, -out % rows))
    return full.view(len(full), -1, pair).transpose(0, 1).to(dtype).contiguous()
