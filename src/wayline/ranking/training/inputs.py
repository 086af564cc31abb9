"""The items as a ranker reads them; without torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from wayline.embeddings.linear import quantise_rows
from wayline.ranking.token_columns import unit_vectors
from wayline.schema import BoolVector, FloatMatrix


@dataclass(frozen=True)  # no slots: a cached property
class ItemInputs:
    """What a ranker reads of items.

    Attributes
    ----------
    tables : list of float32 array, shape [N, d]
        Item vectors, one table a space.
    known : bool array, shape [N]
        Items whose id was learned; others go in as 0.
    n_actions : int
        Actions the ranker has a vector for; later names are left out of its sequences.
    """

    tables: list[FloatMatrix]
    known: BoolVector
    n_actions: int

    @cached_property
    def stacked(self) -> FloatMatrix:
        """All tables below each other, shape [spaces * N, d]."""
        return self.tables[0] if len(self.tables) == 1 else np.concatenate(self.tables)

    @cached_property
    def quantised(self) -> list[npt.NDArray[np.int8]]:
        """The tables as tokens are selected and gathered from, int8 [N, d] each."""
        return [quantise_rows(table) for table in self.tables]

    @cached_property
    def token_vectors(self) -> FloatMatrix:
        """What tokens have for vectors, all tables below each other, shape [spaces * N, d]."""
        every = np.arange(len(self.tables[0]))
        return np.concatenate([unit_vectors(table, every) for table in self.quantised])
