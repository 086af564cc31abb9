"""Other readers of the same sequence, in the same code: what TransAct is compared with.

All are called as :class:`~wayline.ranking.modules.transact.TransAct` is and configured by the same dataclass (each
reads the fields that mean something to it). They see the same actions: padding, the future and, in training, the
random window are hidden from all of them alike.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from wayline.ranking.modules.blocks import (
    action_table,
    encode_visible,
    first_rows,
    gather_rows,
    post_norm_encoder,
    require_sequence,
    sinusoids,
    visible,
)
from wayline.ranking.modules.transact import TransAct, TransActConfig


class SequenceEncoder(nn.Module):
    """What the baselines share: the check of the input, what may be seen, and ``[action | item]`` tokens."""

    out_dim: int

    def __init__(self, config: TransActConfig) -> None:
        super().__init__()
        self.config = config
        self.token_dim = config.item_dim + (config.action_dim if config.use_actions else 0)
        if config.use_actions:
            self.action_embedding = action_table(config.n_actions, config.action_dim)

    def read(
        self,
        action_type: Tensor,
        item_vector: Tensor,
        action_ts_ms: Tensor,
        request_ts_ms: Tensor,
        candidate_vector: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Tokens ``[B, S, d]``, zeros where hidden, and which may be seen ``[B, S]``; S is at least 1."""
        config = self.config
        require_sequence(
            action_type,
            item_vector,
            action_ts_ms,
            request_ts_ms,
            candidate_vector,
            item_dim=config.item_dim,
            n_actions=config.n_actions,
        )
        if action_type.shape[1] == 0:
            action_type, action_ts_ms = (
                functional.pad(x, (0, 1)) for x in (action_type, action_ts_ms)
            )
            item_vector = functional.pad(item_vector, (0, 0, 0, 1))
        window_ms = config.window_ms if self.training else 0
        seen = visible(action_type, action_ts_ms, request_ts_ms, window_ms=window_ms)
        parts = [self.action_embedding(action_type)] if config.use_actions else []
        tokens = torch.cat([*parts, item_vector], dim=2)
        return tokens.masked_fill(seen.logical_not()[..., None], 0.0), seen


class NoSequence(SequenceEncoder):
    """Wide & deep without a sequence: ``[B, 0]``, the base of the paper's tables.

    >>> NoSequence(TransActConfig()).out_dim
    0
    """

    def __init__(self, config: TransActConfig) -> None:
        super().__init__(replace(config, use_actions=False))
        self.out_dim = 0

    def forward(
        self,
        action_type: Tensor,
        item_vector: Tensor,
        action_ts_ms: Tensor,
        request_ts_ms: Tensor,
        candidate_vector: Tensor,
    ) -> Tensor:
        """Nothing, for any sequence; arguments are checked as everywhere."""
        self.read(action_type, item_vector, action_ts_ms, request_ts_ms, candidate_vector)
        return candidate_vector.new_zeros(candidate_vector.shape[0], 0)


class AveragePooling(SequenceEncoder):
    """The mean visible token, ``[B, action_dim + item_dim]`` ("WDL + sequence", TransAct 2023, Table 1).

    >>> AveragePooling(TransActConfig()).out_dim
    64
    """

    def __init__(self, config: TransActConfig) -> None:
        super().__init__(config)
        self.out_dim = self.token_dim
        self.norm: nn.Module = nn.LayerNorm(self.out_dim) if config.normalise else nn.Identity()

    def forward(
        self,
        action_type: Tensor,
        item_vector: Tensor,
        action_ts_ms: Tensor,
        request_ts_ms: Tensor,
        candidate_vector: Tensor,
    ) -> Tensor:
        """Mean over what may be seen; zeros before the norm where nothing is."""
        tokens, seen = self.read(
            action_type, item_vector, action_ts_ms, request_ts_ms, candidate_vector
        )
        count = seen.sum(dim=1).clamp(min=1)[:, None]
        return torch.as_tensor(self.norm(tokens.sum(dim=1) / count))


class DIN(SequenceEncoder):
    """Target attention: every token weighed by a small network of it and the candidate (DIN 2018, §4.3).

    The weight reads token, candidate, their difference and their product; weights are not brought to sum 1, so that
    the strength of an interest survives, as in the paper. PReLU in place of its Dice.

    >>> DIN(TransActConfig()).out_dim
    64
    """

    def __init__(self, config: TransActConfig) -> None:
        super().__init__(config)
        self.out_dim = self.token_dim
        actions = self.token_dim - config.item_dim
        self.weigh = nn.Sequential(
            nn.Linear(4 * config.item_dim + actions, 36), nn.PReLU(), nn.Linear(36, 1)
        )
        self.norm: nn.Module = nn.LayerNorm(self.out_dim) if config.normalise else nn.Identity()

    def forward(
        self,
        action_type: Tensor,
        item_vector: Tensor,
        action_ts_ms: Tensor,
        request_ts_ms: Tensor,
        candidate_vector: Tensor,
    ) -> Tensor:
        """The weighted sum of tokens, ``[B, action_dim + item_dim]``."""
        tokens, seen = self.read(
            action_type, item_vector, action_ts_ms, request_ts_ms, candidate_vector
        )
        items = tokens[..., -self.config.item_dim :]
        candidate = candidate_vector[:, None, :].expand_as(items)
        pair = torch.cat([tokens, candidate, items - candidate, items * candidate], dim=2)
        weight = self.weigh(pair).masked_fill(seen.logical_not()[..., None], 0.0)  # [B, S, 1]
        return torch.as_tensor(self.norm((weight * tokens).sum(dim=1)))


class BST(TransAct):
    """Behaviour sequence transformer: the candidate is one more token, positions, no action types (BST 2019).

    Its output is the candidate's row after the first k rows; BST flattens all rows of a sequence of fixed length.

    >>> BST(TransActConfig(first_k=2)).out_dim
    96
    """

    def __init__(self, config: TransActConfig) -> None:
        # max_pool keeps the width of one more row, which here is the candidate's
        super().__init__(
            replace(config, fusion="append", positions=True, use_actions=False, max_pool=True)
        )
        del self.pooled

    def compress(self, rows: Tensor, seen: Tensor) -> Tensor:
        """First k rows of actions, then the candidate's: ``[B, S, d]`` to ``[B, (k + 1) d]``."""
        history, shown = rows[:, :-1], seen[:, :-1]
        first = gather_rows(history, first_rows(shown, self.config.first_k)).flatten(1)
        missing = self.config.first_k * rows.shape[2] - first.shape[1]
        return torch.cat([functional.pad(first, (0, missing)), rows[:, -1]], dim=1)


class TwoTower(SequenceEncoder):
    """A person's vector from a causal transformer that never sees the candidate, times the candidate's: ``[B, 1]``.

    SASRec (2018), with action types and sinusoidal positions: what a retriever could do at the same cost for any
    number of candidates, and so what early fusion must beat.

    >>> TwoTower(TransActConfig()).out_dim
    1
    """

    def __init__(self, config: TransActConfig) -> None:
        super().__init__(config)
        self.out_dim = 1
        width = self.token_dim
        self.encoder = post_norm_encoder(
            width,
            layers=config.layers,
            heads=config.heads,
            feedforward=config.feedforward,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
        )
        self.user = nn.Linear(width, config.item_dim)

    def forward(
        self,
        action_type: Tensor,
        item_vector: Tensor,
        action_ts_ms: Tensor,
        request_ts_ms: Tensor,
        candidate_vector: Tensor,
    ) -> Tensor:
        """The product of person and candidate; 0 where nothing may be seen."""
        tokens, seen = self.read(
            action_type, item_vector, action_ts_ms, request_ts_ms, candidate_vector
        )
        newest = first_rows(seen, 1)  # [B, 1]
        age = (seen.cumsum(dim=1) - 1).clamp(
            min=0
        )  # counted from the newest: padding takes no place
        table = sinusoids(*tokens.shape[1:], device=tokens.device, dtype=tokens.dtype)
        # oldest first for the causal mask, and back
        states = encode_visible(
            self.encoder, (tokens + table[age]).flip(1), seen.flip(1), causal=True
        )
        last = gather_rows(states.flip(1), newest)[:, 0]  # [B, d]
        product = (self.user(last) * candidate_vector).sum(dim=1, keepdim=True)
        return torch.as_tensor(product.masked_fill(~seen.any(dim=1, keepdim=True), 0.0))


ENCODERS: dict[str, type[SequenceEncoder] | type[TransAct]] = {
    "none": NoSequence,
    "average": AveragePooling,
    "din": DIN,
    "bst": BST,
    "two_tower": TwoTower,
    "transact": TransAct,
}
"""By the names of the settings; each takes a ``TransActConfig`` and has an ``out_dim``."""
