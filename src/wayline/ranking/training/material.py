"""What a training reads: examples, the items as the ranker sees them, and what is foretold."""

from __future__ import annotations

from dataclasses import dataclass

from wayline.ranking.examples.heads import Heads
from wayline.ranking.examples.readings import SequenceReading
from wayline.ranking.examples.requests import Examples
from wayline.ranking.spaces import Space
from wayline.ranking.training.inputs import ItemInputs


@dataclass(frozen=True, slots=True)
class Material:
    """Everything a training reads, made from the log.

    Attributes
    ----------
    fit, stop, decide : Examples
        To train on; to stop on; to decide on. The last two lie later than the first and are of different people.
    items : ItemInputs
    space : Space
    heads : Heads
    action_names : tuple of str
        Those that the ranker knows.
    reading : Newest or Selecting
        How it reads sequences.
    until_ts_ms : int
        The newest action that anything here knows.
    as_serving_reads : Examples
        ``decide`` as the ranker in use reads it, which may have another encoder.
    """

    fit: Examples
    stop: Examples
    decide: Examples
    items: ItemInputs
    space: Space
    heads: Heads
    action_names: tuple[str, ...]
    reading: SequenceReading
    until_ts_ms: int
    as_serving_reads: Examples
