"""What a next-item model is made of and how it is fitted."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from wayline.errors import ConfigError


@dataclass(frozen=True, slots=True)
class NextItemConfig:
    """Sizes and training of a next-item model; the defaults are for a minute of training on a shop's log.

    Attributes
    ----------
    dim : int
        Width D of items and queries.
    blocks, heads : int
    max_len : int
        The newest items of a history that are read.
    dropout : float
        Of attention, feed-forward layers and input items alike. Less learns faster, more ends higher where there is
        time: 0.5 on the published benchmark files.
    temperature : float
        Items and queries are compared by their cosine, divided by this. 0 takes the dot product instead.
    time_features : bool
        Tell each token how long it was until what followed it, and the last one how long until the request. Knowing the
        time of the request is fair online; leave it off where times are only positions.
    loss : {"sampled", "full"}
        Softmax over drawn negatives, or over every item.
    negatives : int
        Items drawn uniformly for each batch and shared by all its positions.
    in_batch_negatives : int
        Targets of other positions of the batch, drawn beside them.
    learning_rate, weight_decay : float
    average : float
        What is validated and served is a moving average of the weights that keeps this share of itself at each step;
        0 serves the last step's.
    batch_users : int
        Windows a batch holds at most; small logs get smaller batches, so that an epoch is not over in a few steps.
    max_epochs : int
    patience : int
        Epochs without a better validation NDCG@10 after which fitting ends.
    refit_epochs : int
        Epochs in which the best model then learns the held-out items as well. They are the newest ones, so it matters.
    validation_users : int
        People whose newest item is held out to choose the epoch; never more than ``validation_share`` of all.
    validation_share : float
    """

    dim: int = 64
    blocks: int = 1
    heads: int = 1
    max_len: int = 100
    dropout: float = 0.3
    temperature: float = 0.1
    time_features: bool = True
    loss: Literal["sampled", "full"] = "sampled"
    negatives: int = 512
    in_batch_negatives: int = 0
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    average: float = 0.999
    batch_users: int = 128
    max_epochs: int = 200
    patience: int = 10
    refit_epochs: int = 4
    validation_users: int = 2000
    validation_share: float = 0.1

    def __post_init__(self) -> None:
        for name in ("dim", "blocks", "heads", "max_len", "negatives", "batch_users", "max_epochs"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"Got {name} = {getattr(self, name)}, expected at least 1: raise it.",
                    field=name,
                )
        if self.dim % self.heads:
            raise ConfigError(
                f"Got dim = {self.dim} and heads = {self.heads}, expected heads to divide dim: change one.",
                field="heads",
            )
        if not 0 <= self.dropout < 1:
            raise ConfigError(
                f"Got dropout = {self.dropout}, expected a share from 0 up to 1: lower it.",
                field="dropout",
            )
        if self.temperature < 0:
            raise ConfigError(
                f"Got temperature = {self.temperature}, expected 0 or more: raise it.",
                field="temperature",
            )
        if not 0 <= self.average < 1:
            raise ConfigError(
                f"Got average = {self.average}, expected a share from 0 up to 1: lower it.",
                field="average",
            )
        if self.loss not in ("sampled", "full"):
            raise ConfigError(
                f"Got loss = {self.loss!r}, expected 'sampled' or 'full'.", field="loss"
            )

    @classmethod
    def of(cls, values: dict[str, Any]) -> NextItemConfig:
        """Read back what ``dataclasses.asdict`` gave.

        Raises
        ------
        ConfigError
            If a key is unknown.
        """
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ConfigError(
                f"Got {', '.join(unknown)} in a next-item model's settings, expected only those of this version: "
                "fit the model again.",
                field=unknown[0],
            )
        return cls(**values)
