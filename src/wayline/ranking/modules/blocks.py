"""What every sequence module needs: which actions may be seen, a plain encoder, pooling without padding."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from wayline.errors import DimensionMismatchError, InputError


def require_sequence(
    action_type: Tensor,
    item_vector: Tensor,
    action_ts_ms: Tensor,
    request_ts_ms: Tensor,
    candidate_vector: Tensor,
    *,
    item_dim: int,
    n_actions: int,
) -> None:
    """Refuse sequences of a wrong shape, and action ids outside 0..n_actions.

    Raises
    ------
    DimensionMismatchError
        If vectors are not ``item_dim`` wide.
    InputError
        If the shapes do not belong together, or an action id is unknown.
    """
    for vectors, where in ((item_vector, "item_vector"), (candidate_vector, "candidate_vector")):
        if vectors.shape[-1] != item_dim:
            raise DimensionMismatchError(
                got=vectors.shape[-1],
                expected=item_dim,
                where=where,
                cure="give vectors of that width, or set item_dim",
            )
    batch, length = action_type.shape
    expected = {
        "item_vector": (item_vector, (batch, length, item_dim)),
        "action_ts_ms": (action_ts_ms, (batch, length)),
        "request_ts_ms": (request_ts_ms, (batch,)),
        "candidate_vector": (candidate_vector, (batch, item_dim)),
    }
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise InputError(
                f"Got {name} of shape {tuple(tensor.shape)}, expected {shape} beside action_type of shape "
                f"{(batch, length)}: pass one row a candidate.",
                field=name,
            )
    require_action_ids(action_type, n_actions)


def require_action_ids(action_type: Tensor, n_actions: int) -> None:
    """Refuse ids outside 0..n_actions: silently made padding, a new action would be lost without a trace."""
    if action_type.numel() == 0:
        return
    low, high = (int(bound) for bound in torch.aminmax(action_type))
    if low < 0 or high > n_actions:
        raise InputError(
            f"Got action id {low if low < 0 else high}, expected 1..{n_actions} (0 is padding): number the actions "
            "from 1, or raise n_actions.",
            field="action_type",
        )


def visible(
    action_type: Tensor, action_ts_ms: Tensor, request_ts_ms: Tensor, *, window_ms: int
) -> Tensor:
    """Which tokens may be seen, ``[B, S]`` bool: not padding, before the request, and before a random window.

    With ``window_ms > 0`` each row draws its own ``T ~ U(0, window_ms)`` from torch's generator and hides the actions
    in ``(request - T, request)`` (TransAct 2023, §3.3.3), so that the model does not lean on the last minutes alone.
    The public module draws one T for a whole batch, from a generator that torch does not seed.
    """
    horizon_ts_ms = request_ts_ms[:, None]
    seen = (action_type != 0) & (action_ts_ms < horizon_ts_ms)
    if window_ms > 0:
        # float64: a float32 draw times a day would come in steps of milliseconds
        share = torch.rand(
            request_ts_ms.shape[0], 1, dtype=torch.float64, device=request_ts_ms.device
        )
        seen = seen & (action_ts_ms <= horizon_ts_ms - (share * window_ms).long())
    return seen


def action_table(n_actions: int, action_dim: int) -> nn.Embedding:
    """One row an action type, row 0 of zeros for padding.

    Rows start about as long as a unit item vector: torch's N(0, 1) is five times that at 32 dimensions and would drown
    it. Chosen, not published.
    """
    table = nn.Embedding(n_actions + 1, action_dim, padding_idx=0)
    with torch.no_grad():
        table.weight.mul_(action_dim**-0.5)
    return table


def first_rows(seen: Tensor, count: int) -> Tensor:
    """Positions of the first ``count`` visible tokens of each row (then of hidden ones), ``[B, min(count, S)]``."""
    return torch.argsort(seen.logical_not().to(torch.int8), dim=1, stable=True)[:, :count]


def gather_rows(values: Tensor, position: Tensor) -> Tensor:
    """``values [B, S, d]`` at ``position [B, k]``, as ``[B, k, d]``."""
    return values.gather(1, position[..., None].expand(-1, -1, values.shape[-1]))


def masked_max(values: Tensor, seen: Tensor) -> Tensor:
    """The largest value of each column over visible rows, ``[B, d]``; zeros where a sequence has none."""
    hidden = seen.logical_not()[..., None]
    top = values.masked_fill(hidden, torch.finfo(values.dtype).min).amax(dim=1)
    return top.masked_fill(seen.any(dim=1).logical_not()[:, None], 0.0)


def post_norm_encoder(
    width: int,
    *,
    layers: int,
    heads: int,
    feedforward: int,
    dropout: float,
    attention_dropout: float = 0.0,
) -> nn.TransformerEncoder:
    """A standard post-norm ReLU encoder, batch first, each layer with weights of its own.

    ``nn.TransformerEncoder`` copies one layer, so all layers would start equal; and its nested-tensor path shortens
    the output to the longest row and zeroes padded ones. Both are turned off here. Dropout of attention weights has
    its own share: at 0 torch trains on one fused kernel instead of storing ``[B, S, S]`` weights and masks.
    """

    def layer() -> nn.TransformerEncoderLayer:
        made = nn.TransformerEncoderLayer(width, heads, feedforward, dropout, batch_first=True)
        made.self_attn.dropout = attention_dropout
        return made

    encoder = nn.TransformerEncoder(layer(), layers, enable_nested_tensor=False)
    encoder.layers = nn.ModuleList(layer() for _ in range(layers))
    return encoder


def encode_visible(
    encoder: nn.TransformerEncoder,
    tokens: Tensor,
    seen: Tensor,
    *,
    causal: bool = False,
) -> Tensor:
    """Encode ``tokens [B, S, d]`` so that hidden ones are never attended and come back as zeros.

    A row without any visible token would make a softmax over nothing (NaN, also in its gradient): it attends its
    first token, which is zero, and its output is dropped like that of every hidden token. With ``causal`` a position
    sees itself and those before it.
    """
    hidden = seen.logical_not()
    tokens = tokens.masked_fill(hidden[..., None], 0.0)
    if tokens.shape[0] == 0:
        return tokens  # torch's attention cannot reshape a mask of no rows
    blocked = hidden.clone()
    if causal:
        # Hidden tokens before the first visible one would leave nothing to attend: the diagonal stays open, and the
        # padding is expressed in the same [B * H, S, S] mask.
        length = tokens.shape[1]
        ahead = torch.ones(length, length, dtype=torch.bool, device=tokens.device).triu(1)
        itself = torch.eye(length, dtype=torch.bool, device=tokens.device)
        mask = (ahead | blocked[:, None, :]) & ~itself
        first = encoder.layers[0]
        assert isinstance(first, nn.TransformerEncoderLayer)
        encoded = encoder(tokens, mask=mask.repeat_interleave(first.self_attn.num_heads, dim=0))
    else:
        blocked[:, 0] &= seen.any(dim=1)
        encoded = encoder(tokens, src_key_padding_mask=blocked)
    return torch.as_tensor(encoded).masked_fill(hidden[..., None], 0.0)


def sinusoids(length: int, width: int, *, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Sinusoidal positions ``[length, width]`` (Vaswani 2017, §3.5): no parameter, any length."""
    pair = torch.arange(0, width, 2, device=device, dtype=torch.float64)
    rate = torch.exp(pair * (-math.log(10_000.0) / width))
    angle = torch.arange(length, device=device, dtype=torch.float64)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :width].to(dtype)
