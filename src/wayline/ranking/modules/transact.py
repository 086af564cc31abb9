"""TransAct: what a person did in the last minutes and days, read against one candidate (KDD 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from wayline.errors import ConfigError
from wayline.ranking.modules.blocks import (
    action_table,
    encode_visible,
    first_rows,
    gather_rows,
    masked_max,
    post_norm_encoder,
    require_sequence,
    sinusoids,
    visible,
)

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class TransActConfig:
    """Sizes and switches of :class:`TransAct`; the defaults are the paper's (§3.3, Tables 3, 4, 10).

    The switches exist for the paper's own ablations: ``fusion`` (``concat`` the candidate to every token, ``append``
    it as one more token, or ``none``), ``use_actions``, ``max_pool``, ``positions`` (sinusoidal), ``first_k``.
    ``normalise`` puts a LayerNorm on the output: ours, not in the paper (what it does to training:
    docs/experiments.md). ``attention_dropout`` is apart from ``dropout``, as the paper does not say where its 0.1
    acts: at 0 a training step takes 0.8 of the time and keeps no attention weights in memory.

    >>> TransActConfig(n_actions=4).out_dim
    1056
    """

    item_dim: int = 32
    action_dim: int = 32
    n_actions: int = 20
    layers: int = 2
    heads: int = 1
    feedforward: int = 32
    dropout: float = 0.1
    attention_dropout: float = 0.0
    first_k: int = 10
    max_pool: bool = True
    fusion: Literal["concat", "append", "none"] = "concat"
    use_actions: bool = True
    positions: bool = False
    window_ms: int = DAY_MS
    normalise: bool = True

    def __post_init__(self) -> None:
        if self.fusion not in ("concat", "append", "none"):
            raise ConfigError(
                f"Got fusion {self.fusion!r}, expected 'concat', 'append' or 'none': set one of these."
            )
        if self.n_actions < 1 or self.item_dim < 1 or self.layers < 1 or self.action_dim < 1:
            raise ConfigError(
                f"Got n_actions {self.n_actions}, item_dim {self.item_dim}, action_dim {self.action_dim}, layers "
                f"{self.layers}, expected each at least 1: set larger ones."
            )
        if self.heads < 1 or self.token_dim % self.heads:
            raise ConfigError(
                f"Got {self.heads} heads for tokens of width {self.token_dim}, expected a divisor of it: set heads = 1."
            )
        if self.first_k < 0 or self.out_dim == 0:
            raise ConfigError(
                f"Got first_k {self.first_k} and max_pool {self.max_pool}, expected some output: set first_k = 10."
            )

    @property
    def token_dim(self) -> int:
        """Width d of a token: action + item + candidate, as far as each is in it."""
        parts = 2 if self.fusion == "concat" else 1
        return (self.action_dim if self.use_actions else 0) + parts * self.item_dim

    @property
    def out_dim(self) -> int:
        """Width of the output: the first rows and the pooled one."""
        return (self.first_k + int(self.max_pool)) * self.token_dim


class TransAct(nn.Module):
    """Encode a person's newest actions against a candidate, for a ranker to cross with its other features.

    TransAct (KDD 2023), §3.3: (1) the newest actions, newest first; (2) an embedding of the action's type; (3) early
    fusion, the candidate's vector on every token; (4) in training, a random window before the request is hidden;
    (5) a post-norm transformer without positions; (6) the first k rows beside a linear map of the max over rows.

    Where we differ: the window is drawn per example and from torch's generator; padding and hidden tokens are neither
    attended nor pooled; and the *first k* rows are the first k **visible** ones. The public module takes positions
    0..k-1 whatever is hidden there, so that in training a busy person's rows are mostly noise that serving never
    shows. Taking visible rows makes a hidden action the same as one that has not happened yet: wherever padding
    stands, the output is that of the sequence without it (a test holds it).

    Parameters
    ----------
    config : TransActConfig
        ``out_dim`` of it is the width of the output.

    Examples
    --------
    >>> module = TransAct(TransActConfig(item_dim=4, action_dim=2, n_actions=3, first_k=2)).eval()
    >>> action_type = torch.tensor([[2, 1, 0]])                     # newest first; 0 is padding
    >>> action_ts_ms = torch.tensor([[9_000, 5_000, 0]])
    >>> z = module(action_type, torch.rand(1, 3, 4), action_ts_ms, torch.tensor([10_000]), torch.rand(1, 4))
    >>> tuple(z.shape)                                              # (first_k + 1) * (2 + 4 + 4)
    (1, 30)
    """

    def __init__(self, config: TransActConfig) -> None:
        super().__init__()
        self.config = config
        self.out_dim = config.out_dim
        width = config.token_dim
        if config.use_actions:
            self.action_embedding = action_table(config.n_actions, config.action_dim)
        self.encoder = post_norm_encoder(
            width,
            layers=config.layers,
            heads=config.heads,
            feedforward=config.feedforward,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
        )
        if config.max_pool:
            self.pooled = nn.Linear(width, width)
        self.norm: nn.Module = nn.LayerNorm(self.out_dim) if config.normalise else nn.Identity()
        if config.fusion == "append" and config.use_actions:
            # stands where an action would: the appended candidate has not been acted on
            self.candidate_action = nn.Parameter(torch.zeros(config.action_dim))

    def forward(
        self,
        action_type: Tensor,
        item_vector: Tensor,
        action_ts_ms: Tensor,
        request_ts_ms: Tensor,
        candidate_vector: Tensor,
    ) -> Tensor:
        """One row a candidate.

        Parameters
        ----------
        action_type : int64, shape [B, S]
            1..n_actions, newest first; 0 is padding and nothing else. Any S, 0 too.
        item_vector : float32, shape [B, S, D]
            Vectors of the items acted on; what stands at padding does not matter.
        action_ts_ms : int64, shape [B, S]
            UTC milliseconds. Actions not before the request are hidden, in training and in serving.
        request_ts_ms : int64, shape [B]
            When the feed is asked for.
        candidate_vector : float32, shape [B, D]
            Vectors of the candidates.

        Returns
        -------
        float32, shape [B, out_dim]
            The first k visible rows (zeros where there are fewer), then the pooled one; zeros before the LayerNorm
            where nothing is visible.

        Raises
        ------
        DimensionMismatchError, InputError
            Vectors of another width, shapes that do not belong together, an unknown action id.
        """
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
        if action_type.shape[1] == 0:  # no token at all: the same as one of padding
            action_type, action_ts_ms = (
                functional.pad(x, (0, 1)) for x in (action_type, action_ts_ms)
            )
            item_vector = functional.pad(item_vector, (0, 0, 0, 1))
        seen = visible(
            action_type,
            action_ts_ms,
            request_ts_ms,
            window_ms=config.window_ms if self.training else 0,
        )
        tokens = self.tokens(action_type, item_vector, candidate_vector)  # [B, S, d]
        if config.positions:
            tokens = tokens + self._position_of(seen, tokens)
        if config.fusion == "append":
            tokens = torch.cat([tokens, self._candidate_token(candidate_vector)], dim=1)
            seen = functional.pad(
                seen, (0, 1), value=True
            )  # after the actions: first k stay actions
        rows = encode_visible(self.encoder, tokens, seen)  # [B, S, d], zeros where hidden
        return torch.as_tensor(self.norm(self.compress(rows, seen)))

    def tokens(self, action_type: Tensor, item_vector: Tensor, candidate_vector: Tensor) -> Tensor:
        """Early fusion: ``[action | item | candidate]`` for every action, ``[B, S, d]``."""
        parts = [self.action_embedding(action_type)] if self.config.use_actions else []
        parts.append(item_vector)
        if self.config.fusion == "concat":
            parts.append(candidate_vector[:, None, :].expand(-1, item_vector.shape[1], -1))
        return torch.cat(parts, dim=2)

    def compress(self, rows: Tensor, seen: Tensor) -> Tensor:
        """The first k visible rows and the pooled one, side by side: ``[B, S, d]`` to ``[B, out_dim]``."""
        first_k, parts = self.config.first_k, []
        if first_k:
            # an appended candidate is pooled, but is no action and never among the first k
            actions = seen.shape[1] - int(self.config.fusion == "append")
            first = first_rows(seen[:, :actions], first_k)
            first = gather_rows(rows[:, :actions], first).flatten(1)  # [B, min(k, S) * d]
            missing = first_k * rows.shape[2] - first.shape[1]
            parts.append(functional.pad(first, (0, missing)))
        if self.config.max_pool:
            nothing = seen.any(dim=1).logical_not()[:, None]
            # the bias must not speak for an empty history: zeros, as in the rows
            parts.append(self.pooled(masked_max(rows, seen)).masked_fill(nothing, 0.0))
        return torch.cat(parts, dim=1)

    def _candidate_token(self, candidate_vector: Tensor) -> Tensor:
        """The candidate as one more token, ``[B, 1, d]``."""
        parts = [candidate_vector]
        if self.config.use_actions:
            parts.insert(0, self.candidate_action.expand(candidate_vector.shape[0], -1))
        return torch.cat(parts, dim=1)[:, None, :]

    def _position_of(self, seen: Tensor, tokens: Tensor) -> Tensor:
        """The position of each token among the visible ones, ``[B, S, d]``: padding takes no place."""
        table = sinusoids(*tokens.shape[1:], device=tokens.device, dtype=tokens.dtype)
        rank: Tensor = (seen.cumsum(dim=1) - 1).clamp(min=0)
        return table[rank]
