"""TransAct's weights, rearranged so that what does not depend on the candidate is done once a request.

With early fusion a token is ``x_i = s_i + E c``: its own part and the candidate, which stands in the last columns.
In the first layer

    score_ij = (M x_i + m) . x_j,   M = Wk' Wq / sqrt(head width),  m = Wk' bq / sqrt(head width)

up to terms that are the same for every key ``j``: those cancel in the softmax. Of what is left,
``(M s_i + m) . s_j`` is the same for all candidates and ``(M E c) . s_j`` is one number per candidate and key. Values
are linear too, and as the weights of a softmax sum to 1, all that the candidate and the biases add to them is one
constant row a candidate.

With one head, later layers use the same products: ``M`` replaces two projections, ``Wo Wv`` two more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wayline.ranking.modules.transact import TransAct


@dataclass(frozen=True, slots=True)
class Layer:
    """One encoder layer; ``key`` and ``out`` are None where one head lets them be part of ``query`` and ``value``."""

    query: Tensor  # [d, d], with 1 / sqrt(head width) in it
    query_bias: Tensor  # [d]
    key: Tensor | None  # [d, d]
    value: Tensor  # [d, d]
    out: Tensor | None  # [d, d]
    out_bias: Tensor  # [d]: what biases of values and output add to every row
    up: Tensor  # [F, d]
    up_bias: Tensor
    down: Tensor  # [d, F]
    down_bias: Tensor
    norm1: tuple[Tensor, Tensor, float]  # gain [d], shift [d], epsilon
    norm2: tuple[Tensor, Tensor, float]


@dataclass(frozen=True, slots=True)
class Weights:
    """A module's weights as the scorer reads them; float32 copies that later training does not change."""

    heads: int
    item_dim: int  # D: the candidate's columns are the last D of d
    product: Tensor  # [H, d, d]: M of the first layer
    product_bias: Tensor  # [H, d]: m
    candidate: (
        Tensor  # [d, D]: what a candidate's vector adds to every row after the first attention
    )
    layers: tuple[Layer, ...]
    first_k: int
    pooled: tuple[Tensor, Tensor] | None  # weight [d, d], bias [d]
    norm: tuple[Tensor, Tensor, float] | None  # of the output

    @property
    def width(self) -> int:
        """d, the width of a token."""
        return self.product.shape[2]

    @property
    def columns(self) -> slice:
        """Where the candidate stands in a token."""
        return slice(self.width - self.item_dim, self.width)

    @property
    def out_dim(self) -> int:
        """Width of the output."""
        return (self.first_k + (self.pooled is not None)) * self.width


@dataclass(frozen=True, slots=True)
class Request:
    """The first layer's share of a request, for S visible tokens and C candidates."""

    tokens: Tensor  # [S, d]: s, zeros where the candidate goes
    shared: Tensor  # [H, S, S]: scores of query i and key j
    bias: Tensor  # [C, H, S]: what candidate c adds to key j
    value: Tensor  # [H * head width, S]: values without biases, feature by feature
    constant: Tensor  # [C, d]: added to every row after the first attention


def unsupported(module: TransAct) -> str | None:
    """Why the scorer has to call the module itself; None if it need not."""
    if module.config.fusion != "concat":
        return f"fusion {module.config.fusion!r}"
    if getattr(module.encoder, "norm", None) is not None:
        return "a norm after the encoder"
    for layer in module.encoder.layers:
        if not isinstance(layer, nn.TransformerEncoderLayer) or layer.norm_first:
            return "a layer that is not a post-norm nn.TransformerEncoderLayer"
        if layer.activation_relu_or_gelu != 1:
            return "an activation other than ReLU"
        attention = layer.self_attn
        if not attention._qkv_same_embed_dim or attention.bias_k is not None:
            return "attention with keys or values of its own width"
    return None


def gather_weights(module: TransAct) -> Weights:
    """Multiply out what can be, in float64, and copy the rest."""
    layers = [x for x in module.encoder.layers if isinstance(x, nn.TransformerEncoderLayer)]
    product, product_bias = _products(layers[0])
    item_dim, width = module.config.item_dim, product.shape[2]
    (_, _, wv), _ = _projections(layers[0])
    added = layers[0].self_attn.out_proj.weight.detach().double() @ wv  # by attention ...
    candidate = added[:, -item_dim:] + torch.eye(width).double()[:, -item_dim:]  # ... and residual
    pooled = module.pooled if module.config.max_pool else None
    return Weights(
        heads=module.config.heads,
        item_dim=item_dim,
        product=product.float(),
        product_bias=product_bias.float(),
        candidate=candidate.float(),
        layers=tuple(layer_weights(layer) for layer in layers),
        first_k=module.config.first_k,
        pooled=None if pooled is None else (copied(pooled.weight), copied(pooled.bias)),
        norm=norm_weights(module.norm) if isinstance(module.norm, nn.LayerNorm) else None,
    )


def _projections(layer: nn.TransformerEncoderLayer) -> tuple[list[Tensor], list[Tensor]]:
    """Weights [d, d] and biases [d] of query, key and value, float64."""
    attention = layer.self_attn
    weight = attention.in_proj_weight.detach().double()
    bias = attention.in_proj_bias
    width = weight.shape[1]
    biases = torch.zeros(3 * width).double() if bias is None else bias.detach().double()
    return list(torch.split(weight, width)), list(torch.split(biases, width))


def _products(layer: nn.TransformerEncoderLayer) -> tuple[Tensor, Tensor]:
    """``M [H, d, d]`` and ``m [H, d]`` of a layer, float64."""
    (wq, wk, _), (bq, _, _) = _projections(layer)
    heads = layer.self_attn.num_heads
    width = wq.shape[1]
    wq, wk = (w.view(heads, width // heads, width) for w in (wq, wk))
    scale = 1.0 / math.sqrt(width // heads)
    product = scale * wk.transpose(1, 2) @ wq
    bias = scale * wk.transpose(1, 2) @ bq.view(heads, width // heads, 1)
    return product, bias[..., 0]


def layer_weights(layer: nn.TransformerEncoderLayer) -> Layer:
    """Give one post-norm encoder layer's weights, with what can be multiplied out multiplied out in float64."""
    (wq, wk, wv), (bq, _, bv) = _projections(layer)
    out, out_bias = (
        p.detach().double()
        for p in (layer.self_attn.out_proj.weight, layer.self_attn.out_proj.bias)
    )
    key: Tensor | None = wk
    mix: Tensor | None = out
    if layer.self_attn.num_heads == 1:
        product, product_bias = _products(layer)
        query, query_bias, key, value, mix = product[0], product_bias[0], None, out @ wv, None
    else:  # a key's bias adds the same to every score of a query, which the softmax does not see
        scale = 1.0 / math.sqrt(wq.shape[1] // layer.self_attn.num_heads)
        query, query_bias, value = scale * wq, scale * bq, wv

    return Layer(
        query=copied(query),
        query_bias=copied(query_bias),
        key=None if key is None else copied(key),
        value=copied(value),
        out=None if mix is None else copied(mix),
        out_bias=copied(out @ bv + out_bias),
        up=copied(layer.linear1.weight),
        up_bias=copied(layer.linear1.bias),
        down=copied(layer.linear2.weight),
        down_bias=copied(layer.linear2.bias),
        norm1=norm_weights(layer.norm1),
        norm2=norm_weights(layer.norm2),
    )


def copied(tensor: Tensor) -> Tensor:
    """A float32 copy that later training does not change."""
    return tensor.detach().float().clone().contiguous()


def norm_weights(module: nn.LayerNorm) -> tuple[Tensor, Tensor, float]:
    """Gain, shift and epsilon of a LayerNorm."""
    return copied(module.weight), copied(module.bias), module.eps


def begin_request(weights: Weights, tokens: Tensor, candidate_vector: Tensor) -> Request:
    """Do the first layer's share of all candidates.

    Parameters
    ----------
    tokens : float32, shape [S, d]
        Visible tokens with zeros in the candidate's columns, which are the last D.
    candidate_vector : float32, shape [C, D]
        Candidates.
    """
    first = weights.layers[0]
    shared = (tokens @ weights.product.mT + weights.product_bias[:, None]) @ tokens.T  # [H, S, S]
    added = candidate_vector @ weights.product[:, :, weights.columns].mT  # M E c: [H, C, d]
    bias = (added @ tokens.T).transpose(0, 1)  # [C, H, S]
    constant = candidate_vector @ weights.candidate.T + first.out_bias  # [C, d]
    return Request(tokens, shared, bias, first.value @ tokens.T, constant)
