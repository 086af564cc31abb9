"""TransAct's encoder in plain torch operations, some candidates at a time: the kernel's readable twin."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from wayline.ranking.scorer.transact_weights import Layer, Request, Weights, begin_request

# candidates whose activations stay in the cache (100 tokens: 10 to 50 are alike, 100 take twice as long)
BLOCK = 20


def score(
    weights: Weights,
    tokens: Tensor,
    candidate_vector: Tensor,
    *,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """One row a candidate, as the module gives it.

    Parameters
    ----------
    weights : Weights
        Of the module.
    tokens : float32, shape [S, d]
        Visible tokens, S >= 1, with zeros where the candidate goes.
    candidate_vector : float32, shape [C, D]
        Candidates.
    dtype : torch.dtype
        Of the matrix products; sums, softmax and LayerNorm are float32.

    Returns
    -------
    float32, shape [C, out_dim]
    """
    request = begin_request(weights, tokens, candidate_vector)
    out = torch.zeros(len(candidate_vector), weights.out_dim)
    for block in torch.split(torch.arange(len(candidate_vector)), BLOCK):
        x = _encode_block(weights, request, slice(int(block[0]), int(block[-1]) + 1), dtype)
        first = x[:, : weights.first_k].flatten(1)
        out[block, : first.shape[1]] = first
        if weights.pooled is not None:
            out[block, -weights.width :] = functional.linear(x.amax(dim=1), *weights.pooled)
    return out if weights.norm is None else _norm(out, weights.norm)


def _encode_block(weights: Weights, request: Request, block: slice, dtype: torch.dtype) -> Tensor:
    """All layers of some candidates: ``[C, S, d]``."""
    first, heads = weights.layers[0], weights.heads
    attention = torch.softmax(request.shared + request.bias[block, :, None], dim=3)  # [C, H, S, S]
    value = request.value.view(heads, -1, len(request.tokens)).mT  # [H, S, d / H]
    x = request.tokens + _mix(first, _product(attention, value, dtype), dtype)
    x = _finish(first, x + request.constant[block, None], dtype)
    for layer in weights.layers[1:]:
        x = _finish(layer, x + _attend(layer, x, heads, dtype) + layer.out_bias, dtype)
    return x


def _attend(layer: Layer, x: Tensor, heads: int, dtype: torch.dtype) -> Tensor:
    def split(y: Tensor) -> Tensor:
        return y.view(*y.shape[:2], heads, -1).transpose(1, 2)  # [C, H, S, d / H]

    query = split(_product(x, layer.query.T, dtype) + layer.query_bias)
    key = split(x if layer.key is None else _product(x, layer.key.T, dtype))
    attention = torch.softmax(_product(query, key.mT, dtype), dim=3)
    return _mix(layer, _product(attention, split(_product(x, layer.value.T, dtype)), dtype), dtype)


def _mix(layer: Layer, headed: Tensor, dtype: torch.dtype) -> Tensor:
    """``[C, H, S, d / H]`` to ``[C, S, d]``."""
    joined = headed.transpose(1, 2).flatten(2)
    return joined if layer.out is None else _product(joined, layer.out.T, dtype)


def _finish(layer: Layer, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Norm, feed-forward, norm; ``x`` has the attention added."""
    x = _norm(x, layer.norm1)
    hidden = torch.relu_(_product(x, layer.up.T, dtype) + layer.up_bias)
    return _norm(x + _product(hidden, layer.down.T, dtype) + layer.down_bias, layer.norm2)


def _norm(x: Tensor, norm: tuple[Tensor, Tensor, float]) -> Tensor:
    gain, shift, epsilon = norm
    return functional.layer_norm(x, gain.shape, gain, shift, epsilon)


def _product(left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    return (left.to(dtype) @ right.to(dtype)).float()
