"""The ranker: features, the person's sequence and the candidate, crossed, to one logit an action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from wayline.errors import ConfigError, DimensionMismatchError, InputError
from wayline.ranking.modules.batch import RankerBatch
from wayline.ranking.modules.cross import DCNv2
from wayline.ranking.modules.encoders import ENCODERS, SequenceEncoder
from wayline.ranking.modules.numeric import NumericNorm
from wayline.ranking.modules.transact import TransAct, TransActConfig
from wayline.ranking.modules.transact_v2 import TransActV2, TransActV2Config

TRANSACT_V2 = "transact_v2"


@dataclass(frozen=True, slots=True)
class RankerConfig:
    """What a ranker reads and how large it is. All sizes but those of the sequence are chosen, not published.

    ``sequence_dim`` maps the sequence's output (1,056 columns at the paper's sizes) to fewer before the cross network,
    whose cost is the square of its width; None crosses all of them, as the paper does. ``base_scale`` is how much of
    the score served today each head starts from: one number a head, 0 for heads that it says nothing about (a hide).

    >>> RankerConfig(heads=("click", "hide"), n_numeric=3).heads
    ('click', 'hide')
    """

    heads: tuple[str, ...]
    n_numeric: int
    n_items: int = 0
    id_dim: int = 16
    id_dropout: float = 0.2
    user_dim: int = 0
    item_dim: int = 32
    encoder: str = "transact"
    sequence: TransActConfig | TransActV2Config = TransActConfig()  # noqa: RUF009 (frozen)
    sequence_dim: int | None = 64
    cross_layers: int = 2
    cross_rank: int | None = None
    hidden: tuple[int, ...] = (64, 32)
    dropout: float = 0.1
    base_scale: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        known = [*ENCODERS, TRANSACT_V2]
        if self.encoder not in known:
            raise ConfigError(
                f"Got encoder {self.encoder!r}, expected one of {', '.join(known)}: set one of these."
            )
        wanted = TransActV2Config if self.encoder == TRANSACT_V2 else TransActConfig
        if not isinstance(self.sequence, wanted):
            raise ConfigError(
                f"Got a {type(self.sequence).__name__} for encoder {self.encoder!r}, expected a {wanted.__name__}: "
                "give that."
            )
        if self.sequence.item_dim != self.item_dim:
            raise ConfigError(
                f"Got item_dim {self.sequence.item_dim} for the sequence and {self.item_dim} for the ranker, expected "
                "the same: candidates and history share one space."
            )
        if not self.heads or len(set(self.heads)) != len(self.heads):
            raise ConfigError(
                f"Got heads {self.heads}, expected different names: name the actions."
            )
        if self.base_scale is not None and len(self.base_scale) != len(self.heads):
            raise ConfigError(
                f"Got {len(self.base_scale)} values of base_scale for {len(self.heads)} heads, expected one a head: "
                "give as many."
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the manifest of a generation; :meth:`from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RankerConfig:
        """Read what :meth:`to_dict` wrote, also through JSON.

        Raises
        ------
        ConfigError
            A field is unknown: another version wrote it.

        >>> config = RankerConfig(heads=("click",), n_numeric=3)
        >>> RankerConfig.from_dict(config.to_dict()) == config
        True
        """
        values = dict(values)
        v2 = values.get("encoder") == TRANSACT_V2
        sequence: type[Any] = TransActV2Config if v2 else TransActConfig
        if "sequence" in values:
            values["sequence"] = _read(sequence, values["sequence"])
        tuples = ("heads", "hidden", "base_scale")
        values |= {k: tuple(values[k]) for k in tuples if values.get(k) is not None}
        config: RankerConfig = _read(cls, values)
        return config


class Ranker(nn.Module):
    """Pointwise multi-head ranker: features beside the sequence's output, crossed by DCNv2, one logit a head.

    Pinnability with TransAct (KDD 2023, §3.1-3.2). ``logit_h = scale_h * base_score + bias_h + net_h(x)`` is ours:
    the last layer of ``net`` starts at zero, so that an untrained ranker serves exactly the order served today and a
    small log has only to learn what that order lacks. Without ``base_score`` it is the paper's network.

    The id embedding of an item (0 is "unknown") is left out at random in training, so that row 0 is trained and an
    item that came later is scored by its content.

    Parameters
    ----------
    config : RankerConfig

    Examples
    --------
    >>> config = RankerConfig(heads=("click", "hide"), n_numeric=3, item_dim=4, sequence=TransActConfig(item_dim=4))
    >>> ranker = Ranker(config).eval()
    >>> one, none = torch.zeros(1, 2, dtype=torch.int64), torch.zeros(5, dtype=torch.int64)
    >>> batch = RankerBatch(
    ...     numeric=torch.rand(5, 3), item_idx=none, base_score=torch.arange(5.0), request_idx=none,
    ...     action_type=one, item_vector=torch.rand(1, 2, 4), action_ts_ms=one, request_ts_ms=one[:, 0],
    ...     candidate_vector=torch.rand(5, 4))
    >>> logits = ranker(batch)
    >>> tuple(logits.shape), logits[:, 0].tolist()                    # untrained: the order served today
    ((5, 2), [0.0, 1.0, 2.0, 3.0, 4.0])
    """

    def __init__(self, config: RankerConfig) -> None:
        super().__init__()
        self.config = config
        n_heads = len(config.heads)
        self.numeric_norm = NumericNorm(config.n_numeric)
        if config.n_items:
            self.item_embedding = nn.Embedding(config.n_items + 1, config.id_dim)
            nn.init.normal_(self.item_embedding.weight, std=0.01)
        self.encoder = self._encoder()
        sequence_dim = self.encoder.out_dim
        self.squeeze: nn.Module = nn.Identity()
        if config.sequence_dim is not None and sequence_dim > config.sequence_dim:
            self.squeeze = nn.Linear(sequence_dim, config.sequence_dim)
            sequence_dim = config.sequence_dim
        ids = config.id_dim if config.n_items else 0
        width = config.n_numeric + ids + config.user_dim + config.item_dim + sequence_dim
        self.cross = DCNv2(width, config.cross_layers, config.cross_rank)
        layers: list[nn.Module] = []
        for hidden in config.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(config.dropout)]
            width = hidden
        self.deep = nn.Sequential(*layers)
        self.heads = nn.Linear(width, n_heads)
        nn.init.zeros_(self.heads.weight)
        nn.init.zeros_(self.heads.bias)
        self.base_scale = nn.Parameter(
            torch.tensor(config.base_scale or (1.0,) * n_heads, dtype=torch.float32)
        )

    def forward(self, batch: RankerBatch, sequence: Tensor | None = None) -> Tensor:
        """Logits ``[B, H]`` in the order of ``config.heads``.

        Parameters
        ----------
        batch : RankerBatch
        sequence : float32, shape [B, encoder.out_dim], optional
            The encoder's output, where a faster twin of it has made it already; then the sequences are not read.

        Raises
        ------
        DimensionMismatchError, InputError
            Another number of features, an item or a request out of range, an encoder's own refusals.
        """
        self._require(batch)
        sequence = self.sequence(batch) if sequence is None else sequence
        return self.logits(batch, sequence)

    def forward_states(self, batch: RankerBatch) -> tuple[Tensor, Tensor]:
        """Logits and the encoder's rows ``U [B, T, d]``, for the next-action loss (TransActV2 only)."""
        if not isinstance(self.encoder, TransActV2):
            raise ConfigError(
                f"Got encoder {self.config.encoder!r}, expected {TRANSACT_V2!r}, whose rows the next-action loss "
                "reads: set encoder, or leave the loss out."
            )
        self._require(batch)
        tokens, valid = self._tokens(batch)
        states = self.encoder.encode(*tokens, valid, batch.candidate_vector)
        return self.logits(batch, self.encoder.pool(states, valid)), states

    def sequence(self, batch: RankerBatch) -> Tensor:
        """The encoder's output for every candidate, ``[B, encoder.out_dim]``.

        Columns that are padding in the whole batch are cut off first: they change nothing and cost as much as actions.
        """
        if isinstance(self.encoder, TransActV2):
            (bits, surface, vectors), valid = self._tokens(batch)
            end = _end(valid)
            tokens = (bits[:, :end], surface[:, :end], vectors[:, :end], valid[:, :end])
            return torch.as_tensor(self.encoder(*tokens, batch.candidate_vector))
        request, end = batch.request_idx, _end(batch.action_type != 0)
        return torch.as_tensor(
            self.encoder(
                batch.action_type[:, :end][request],
                batch.item_vector[:, :end][request],
                batch.action_ts_ms[:, :end][request],
                batch.request_ts_ms[request],
                batch.candidate_vector,
            )
        )

    def logits(self, batch: RankerBatch, sequence: Tensor) -> Tensor:
        """Cross the features with the encoder's output: ``[B, encoder.out_dim]`` to ``[B, H]``."""
        x = self.deep(self.cross(self.features(batch, sequence)))
        logits = torch.as_tensor(self.heads(x))
        if batch.base_score is None:
            return logits
        return logits + self.base_scale * batch.base_score[:, None]

    def features(self, batch: RankerBatch, sequence: Tensor) -> Tensor:
        """Everything side by side, ``[B, cross.dim]``."""
        parts = [self.numeric_norm(batch.numeric)]
        if self.config.n_items:
            item_idx = batch.item_idx
            if self.training and self.config.id_dropout > 0:
                left_out = torch.rand(len(item_idx), device=item_idx.device)
                item_idx = item_idx.masked_fill(left_out < self.config.id_dropout, 0)
            parts.append(self.item_embedding(item_idx))
        if batch.user_vector is not None and self.config.user_dim:
            parts.append(batch.user_vector[batch.request_idx])
        return torch.cat([*parts, batch.candidate_vector, self.squeeze(sequence)], dim=1)

    def _encoder(self) -> SequenceEncoder | TransAct | TransActV2:
        if isinstance(self.config.sequence, TransActV2Config):
            return TransActV2(self.config.sequence)
        return ENCODERS[self.config.encoder](self.config.sequence)

    @staticmethod
    def _tokens(batch: RankerBatch) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """The selected tokens of the batch, and which of them are real."""
        bits, surface, vectors = batch.action_bits, batch.surface, batch.token_vector
        if bits is None or surface is None or vectors is None:
            raise InputError(
                "Got a batch without tokens, expected action_bits, surface and token_vector: select tokens for "
                "every candidate, or use an encoder that reads the newest actions."
            )
        valid = (bits != 0) if batch.token_valid is None else batch.token_valid
        return (bits, surface, vectors), valid

    def _require(self, batch: RankerBatch) -> None:
        """Refuse widths and positions that the trained tables do not have."""
        for got, expected, where in (
            (batch.numeric.shape[1], self.config.n_numeric, "numeric"),
            (batch.candidate_vector.shape[1], self.config.item_dim, "candidate_vector"),
            (
                0 if batch.user_vector is None else batch.user_vector.shape[1],
                self.config.user_dim,
                "user_vector",
            ),
        ):
            if got != expected:
                raise DimensionMismatchError(
                    got=got, expected=expected, where=where, cure="give what it was trained on"
                )
        for name, index, size in (
            ("request_idx", batch.request_idx, batch.request_ts_ms.shape[0]),
            ("item_idx", batch.item_idx, self.config.n_items + 1),
        ):
            unused = name == "item_idx" and not self.config.n_items
            if (
                index.numel()
                and not unused
                and not 0 <= int(index.min()) <= int(index.max()) < size
            ):
                raise InputError(
                    f"Got {name} from {int(index.min())} to {int(index.max())}, expected 0..{size - 1}: "
                    "give an item that training did not know as 0.",
                    field=name,
                )


def _end(real: Tensor) -> int:
    """One past the last column that is real in any row, 0 where none is."""
    column = torch.nonzero(real.any(dim=0))
    return int(column[-1]) + 1 if len(column) else 0


def _read(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """A dataclass of plain values, unknown fields refused by name."""
    unknown = set(values) - {f.name for f in fields(kind)}
    if unknown:
        raise ConfigError(
            f"Got {', '.join(sorted(unknown))} in a {kind.__name__}, expected only fields of this version: "
            "train again, or use the version that wrote it."
        )
    return kind(**values)
