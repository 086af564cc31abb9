"""TransAct V2's encoder in plain torch operations, some candidates at a time: the kernel's readable twin."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from wayline.ranking.modules.blocks import masked_max
from wayline.ranking.scorer.transact_v2_weights import V2Weights
from wayline.ranking.scorer.transact_weights import Layer

BLOCK = 25  # candidates: their scores [25, 192, 192] stay in the cache


def token_shares(
    weights: V2Weights, item_vector: Tensor, action_bits: Tensor, surface: Tensor
) -> Tensor:
    """Shares of all tokens of a request.

    Parameters
    ----------
    item_vector : float32, shape [N, D]
        Of length 1, or zeros.
    action_bits, surface : int64, shape [N]

    Returns
    -------
    float32, shape [N, 3 d]
    """
    bit = torch.arange(len(weights.action) - 1)
    is_set = (action_bits[:, None] >> bit) & 1
    none = (action_bits == 0)[:, None]
    share = torch.cat([none, is_set], dim=1).float() @ weights.action + weights.surface[surface]
    item = torch.cat(
        [functional.pad(item_vector, (0, item_vector.shape[1])), item_vector @ weights.item], dim=1
    )
    return share + item


def encode_v2(weights: V2Weights, token: Tensor, candidate: Tensor, token_row: Tensor) -> Tensor:
    """Give what the module gives: all layers, the pooled row, its norm.

    Parameters
    ----------
    token : float32, shape [N, 3 d]
        Shares of the request's tokens.
    candidate : float32, shape [C, 3 d]
        Shares of the candidates.
    token_row : int64, shape [C, T]
        Tokens of each candidate; -1 is padding.

    Returns
    -------
    float32, shape [C, d]; zeros before the norm where a candidate has no token
    """
    blocks = zip(torch.split(candidate, BLOCK), torch.split(token_row, BLOCK), strict=True)
    found = [_encode_block(weights, token, *block) for block in blocks]
    nothing = (token_row < 0).all(dim=1)[:, None]
    out = functional.linear(torch.cat(found), *weights.pooled).masked_fill_(nothing, 0.0)
    return out if weights.norm is None else _norm(out, weights.norm)


def _encode_block(weights: V2Weights, token: Tensor, candidate: Tensor, row: Tensor) -> Tensor:
    """The largest value of each feature after all layers, for some candidates: ``[C, d]``."""
    width, length = weights.width, row.shape[1]
    seen = row >= 0
    own = token[row.clamp(min=0)] + weights.position[:length]  # [C, T, 3 d]
    x, query, _ = torch.split(own + candidate[:, None], width, dim=2)
    key, _, value = torch.split(own, width, dim=2)
    hidden = ~seen[:, None, :]  # [C, 1, T]
    if weights.causal:
        hidden = hidden | torch.ones(length, length, dtype=torch.bool).triu(1)
    # a padded row sees itself: a softmax over nothing is NaN
    hidden = hidden & ~torch.eye(length, dtype=torch.bool)

    first = weights.layers[0]
    x = x + _attend(query, key, value, hidden) + candidate[:, None, 2 * width :]
    x = _finish(first, x)
    for layer in weights.layers[1:]:
        query = functional.linear(x, layer.query, layer.query_bias)
        value = functional.linear(x, layer.value)
        x = _finish(layer, x + _attend(query, x, value, hidden) + layer.out_bias)
    return masked_max(x, seen)


def _attend(query: Tensor, key: Tensor, value: Tensor, hidden: Tensor) -> Tensor:
    score = (query @ key.mT).masked_fill_(hidden, -torch.inf)
    return torch.softmax(score, dim=2) @ value


def _finish(layer: Layer, x: Tensor) -> Tensor:
    """Norm, feed-forward, norm; ``x`` has the attention added."""
    x = _norm(x, layer.norm1)
    hidden = functional.relu(functional.linear(x, layer.up, layer.up_bias))
    return _norm(x + functional.linear(hidden, layer.down, layer.down_bias), layer.norm2)


def _norm(x: Tensor, norm: tuple[Tensor, Tensor, float]) -> Tensor:
    gain, shift, epsilon = norm
    return functional.layer_norm(x, gain.shape, gain, shift, epsilon)
