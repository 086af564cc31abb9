"""TransAct V2: the tokens of a lifelong history that are nearest to one candidate, read in order (2025)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wayline.errors import ConfigError, DimensionMismatchError, InputError
from wayline.ranking.modules.blocks import encode_visible, masked_max, post_norm_encoder


@dataclass(frozen=True, slots=True)
class TransActV2Config:
    """Sizes of :class:`TransActV2`; the defaults are the paper's (§3.3), where it gives one.

    ``n_actions``, ``n_surfaces`` and ``dropout`` are chosen, not published: what a wayline token can hold, and the
    dropout of V1. ``causal``, ``positions`` and ``use_actions`` are switches for ablations; ``normalise`` and
    ``attention_dropout`` as in :class:`~wayline.ranking.modules.transact.TransActConfig`.

    >>> TransActV2Config().out_dim
    64
    """

    item_dim: int = 32
    n_actions: int = 16
    n_surfaces: int = 255
    tokens: int = 192
    layers: int = 2
    heads: int = 1
    feedforward: int = 32
    dropout: float = 0.1
    attention_dropout: float = 0.0
    causal: bool = True
    positions: bool = True
    use_actions: bool = True
    normalise: bool = True

    def __post_init__(self) -> None:
        if min(self.item_dim, self.n_actions, self.tokens, self.layers) < 1 or self.n_surfaces < 0:
            raise ConfigError(
                f"Got item_dim {self.item_dim}, n_actions {self.n_actions}, tokens {self.tokens}, layers "
                f"{self.layers}, n_surfaces {self.n_surfaces}, expected at least 1, 1, 1, 1, 0: set larger ones."
            )
        if self.n_actions > 62:
            raise ConfigError(
                f"Got n_actions {self.n_actions}, expected at most 62, the bits of a mask: group the rare ones."
            )
        if self.heads < 1 or self.out_dim % self.heads:
            raise ConfigError(
                f"Got {self.heads} heads for tokens of width {self.out_dim}, expected a divisor of it: set heads = 1."
            )

    @property
    def out_dim(self) -> int:
        """Width d of a token and of the output: item and candidate side by side."""
        return 2 * self.item_dim


class TransActV2(nn.Module):
    """Encode the selected tokens of a person's whole history against a candidate.

    TransAct V2 (2025), §3.2-3.3. The tokens come selected and in parts,
    ``NN(lifelong) ++ RT[:r] ++ NN(RT[r:]) ++ NN(impressions)`` (eq. 3); the module sees positions 0..S-1.
    (1) ``F = CONCAT(item, candidate) + E_act + E_surf + E_pos`` (eq. 4), where ``E_act`` is the sum over the actions
    of a token; (2) a causal post-norm transformer, whose rows ``U`` also feed
    :class:`~wayline.ranking.modules.next_action.NextActionLoss`; (3) a linear map of the max over rows.

    **Order of time**: the paper does not say which way its causal mask looks. Ours takes every part *oldest first*:
    a row sees itself and earlier positions, so "next" is the following position and means later, and the next-action
    loss cannot read its answer. Positions are slots: pad a part at its own end (or front) and keep the slots of the
    parts fixed, so that a position says which part a token is of.

    A valid token without any action (an impression) has an embedding of its own, row 0. Surface 0 is "unknown" and
    learned too.

    Parameters
    ----------
    config : TransActV2Config
        ``out_dim`` of it is the width of the output.

    Examples
    --------
    >>> module = TransActV2(TransActV2Config(item_dim=4, n_actions=3, tokens=6)).eval()
    >>> action_bits = torch.tensor([[0b001, 0b101, 0b010, 0]])        # the second token stands for actions 1 and 3
    >>> z = module(action_bits, torch.zeros(1, 4, dtype=torch.int64), torch.rand(1, 4, 4), None, torch.rand(1, 4))
    >>> tuple(z.shape)
    (1, 8)
    """

    def __init__(self, config: TransActV2Config) -> None:
        super().__init__()
        self.config = config
        self.out_dim = width = config.out_dim
        self.action_embedding = nn.Embedding(config.n_actions + 1, width)
        self.surface_embedding = nn.Embedding(config.n_surfaces + 1, width)
        self.position_embedding = nn.Embedding(config.tokens, width)
        for table in (self.action_embedding, self.surface_embedding, self.position_embedding):
            # added to unit vectors: N(0, 1) would drown what the item is. Chosen, not published.
            nn.init.normal_(table.weight, std=0.5 * width**-0.5)
        self.encoder = post_norm_encoder(
            width,
            layers=config.layers,
            heads=config.heads,
            feedforward=config.feedforward,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
        )
        self.pooled = nn.Linear(width, width)
        self.norm: nn.Module = nn.LayerNorm(width) if config.normalise else nn.Identity()

    def forward(
        self,
        action_bits: Tensor,
        surface: Tensor,
        item_vector: Tensor,
        valid: Tensor | None,
        candidate_vector: Tensor,
    ) -> Tensor:
        """One row a candidate.

        Parameters
        ----------
        action_bits : int64, shape [B, S]
            Bit a-1 is action a, 1..n_actions; several may be set.
        surface : int64, shape [B, S]
            0..n_surfaces; 0 is unknown.
        item_vector : float32, shape [B, S, D]
            Vectors of the items; what stands at padding does not matter.
        valid : bool, shape [B, S], or None
            False is padding. None: tokens with an action are valid; give it when there are impressions.
        candidate_vector : float32, shape [B, D]
            Vectors of the candidates.

        Returns
        -------
        float32, shape [B, d]
            The pooled row, d = 2 D; zeros before the LayerNorm where no token is valid.

        Raises
        ------
        DimensionMismatchError, InputError
            Vectors of another width, more tokens than positions, unknown actions or surfaces.
        """
        valid = (action_bits != 0) if valid is None else valid
        states = self.encode(action_bits, surface, item_vector, valid, candidate_vector)
        return self.pool(states, valid)

    def encode(
        self,
        action_bits: Tensor,
        surface: Tensor,
        item_vector: Tensor,
        valid: Tensor | None,
        candidate_vector: Tensor,
    ) -> Tensor:
        """The rows ``U [B, S, d]`` that :meth:`forward` pools; zeros at padding. Arguments as there."""
        valid = (action_bits != 0) if valid is None else valid
        self._require(action_bits, surface, item_vector, valid, candidate_vector)
        if action_bits.shape[1] == 0:
            return item_vector.new_zeros(action_bits.shape[0], 0, self.out_dim)
        tokens = self.tokens(action_bits, surface, item_vector, valid, candidate_vector)
        return encode_visible(self.encoder, tokens, valid, causal=self.config.causal)

    def pool(self, states: Tensor, valid: Tensor) -> Tensor:
        """``linear(max over valid rows)``, normalised: ``[B, S, d]`` to ``[B, d]``."""
        if states.shape[1] == 0:
            return torch.as_tensor(self.norm(states.new_zeros(states.shape[0], self.out_dim)))
        nothing = valid.any(dim=1).logical_not()[:, None]
        pooled = self.pooled(masked_max(states, valid)).masked_fill(nothing, 0.0)
        return torch.as_tensor(self.norm(pooled))

    def tokens(
        self,
        action_bits: Tensor,
        surface: Tensor,
        item_vector: Tensor,
        valid: Tensor,
        candidate_vector: Tensor,
    ) -> Tensor:
        """``F`` of eq. 4, ``[B, S, d]``; zeros at padding."""
        length = item_vector.shape[1]
        hidden = valid.logical_not()
        candidate = candidate_vector[:, None].expand(-1, length, -1)
        pair: Tensor = torch.cat([item_vector, candidate], dim=2)
        pair = pair + self.surface_embedding(surface.masked_fill(hidden, 0))
        if self.config.use_actions:
            pair = pair + self._actions(action_bits.masked_fill(hidden, 0))
        if self.config.positions:
            pair = pair + self.position_embedding.weight[:length]
        return pair.masked_fill(hidden[..., None], 0.0)

    def _actions(self, action_bits: Tensor) -> Tensor:
        """``E_act``: the embeddings of the set bits together, or that of "no action", ``[B, S, d]``."""
        bit = torch.arange(self.config.n_actions, device=action_bits.device)
        is_set = (action_bits[..., None] >> bit) & 1  # [B, S, A]
        none = (action_bits == 0)[..., None]
        weight = self.action_embedding.weight
        return torch.matmul(torch.cat([none, is_set], dim=2).to(weight.dtype), weight)

    def _require(
        self,
        action_bits: Tensor,
        surface: Tensor,
        item_vector: Tensor,
        valid: Tensor,
        candidate_vector: Tensor,
    ) -> None:
        """Refuse what the tables have no row for, instead of reading it as something else."""
        config = self.config
        for vectors, where in (
            (item_vector, "item_vector"),
            (candidate_vector, "candidate_vector"),
        ):
            if vectors.shape[-1] != config.item_dim:
                raise DimensionMismatchError(
                    got=vectors.shape[-1],
                    expected=config.item_dim,
                    where=where,
                    cure="give vectors of that width, or set item_dim",
                )
        batch, length = action_bits.shape
        for name, tensor, shape in (
            ("surface", surface, (batch, length)),
            ("item_vector", item_vector, (batch, length, config.item_dim)),
            ("valid", valid, (batch, length)),
            ("candidate_vector", candidate_vector, (batch, config.item_dim)),
        ):
            if tuple(tensor.shape) != shape:
                raise InputError(
                    f"Got {name} of shape {tuple(tensor.shape)}, expected {shape} beside action_bits of shape "
                    f"{(batch, length)}: pass one row a candidate.",
                    field=name,
                )
        if length > config.tokens:
            raise InputError(
                f"Got {length} tokens, expected at most {config.tokens}: select fewer, or raise tokens."
            )
        for name, tensor, bound in (
            ("action_bits", action_bits, (1 << config.n_actions) - 1),
            ("surface", surface, config.n_surfaces),
        ):
            known = tensor[valid]
            if known.numel() and not 0 <= int(known.min()) <= int(known.max()) <= bound:
                wrong = int(known.min()) if int(known.min()) < 0 else int(known.max())
                raise InputError(
                    f"Got {wrong} in {name}, expected 0..{bound}: map what the model does not know to 0, "
                    f"or raise {'n_actions' if name == 'action_bits' else 'n_surfaces'}.",
                    field=name,
                )
