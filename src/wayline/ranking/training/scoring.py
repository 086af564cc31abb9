"""Scoring examples request by request with an encoder's fast twin, as a feed is scored."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from wayline.ranking.examples.requests import Examples
from wayline.ranking.examples.selected import Selections
from wayline.ranking.modules.batch import RankerBatch
from wayline.ranking.modules.ranker import Ranker
from wayline.ranking.modules.transact import TransAct
from wayline.ranking.modules.transact_v2 import TransActV2
from wayline.ranking.scorer.transact import TransActScorer
from wayline.ranking.scorer.transact_v2 import TransActV2Scorer
from wayline.ranking.selection import TokenShares
from wayline.ranking.training.batches import batch_of
from wayline.ranking.training.inputs import ItemInputs
from wayline.schema import FloatMatrix


class FastTwin(Protocol):
    """Gives what the encoder gives for the candidates of one request, shape [C, out_dim]."""

    path: str
    spelled_out: bool
    """Whether it reads the sequences from the batch."""

    def sequence(self, request: Examples, batch: RankerBatch, items: ItemInputs) -> Tensor:
        """Encode one request."""
        ...


class NewestTwin:
    """TransAct's scorer: the sequence stands once in the batch."""

    spelled_out = True

    def __init__(self, encoder: TransAct, dtype: Any, threads: int | None) -> None:
        self._scorer = TransActScorer(encoder, dtype=dtype, threads=threads)
        self.path = self._scorer.path

    def sequence(self, request: Examples, batch: RankerBatch, items: ItemInputs) -> Tensor:
        """Encode one request."""
        return self._scorer.score(
            batch.action_type[0], batch.item_vector[0], batch.action_ts_ms[0],
            int(batch.request_ts_ms[0]), batch.candidate_vector,
        )  # fmt: skip


class SelectedTwin:
    """TransAct V2's scorer: tokens are read where they are, candidates point to them."""

    spelled_out = False

    def __init__(self, encoder: TransActV2, dtype: Any, threads: int | None) -> None:
        shares = TokenShares(encoder.config.tokens, 0, 0, 0)  # the split does not matter here
        self._scorer = TransActV2Scorer(encoder, dtype=dtype, threads=threads, shares=shares)
        self.path = self._scorer.path

    def sequence(self, request: Examples, batch: RankerBatch, items: ItemInputs) -> Tensor:
        """Encode one request."""
        assert isinstance(request.tokens, Selections)
        found = request.tokens.of_one()
        table = items.quantised[int(request.space[0]) if len(items.tables) > 1 else 0]
        return self._scorer.encode(
            found.tokens, table, batch.candidate_vector.numpy(), found.token_row
        )


def fast_twin(encoder: nn.Module, *, dtype: Any, threads: int | None = None) -> FastTwin | None:
    """Give the fast twin of an encoder; None for one that has none."""
    if isinstance(encoder, TransAct):
        return NewestTwin(encoder, dtype, threads)
    if isinstance(encoder, TransActV2):
        return SelectedTwin(encoder, dtype, threads)
    return None


def score_by_request(
    ranker: Ranker, twin: FastTwin | None, examples: Examples, items: ItemInputs
) -> FloatMatrix:
    """Give the logits of all rows, shape [T, H]: what does not depend on the candidate is done once a request."""
    out = [np.zeros((0, len(ranker.config.heads)), np.float32)]
    with torch.inference_mode():
        for r in range(len(examples)):
            request = examples if len(examples) == 1 else examples.take(np.array([r]))
            batch = batch_of(request, items, sequences=twin is None or twin.spelled_out).inputs
            sequence = None if twin is None else twin.sequence(request, batch, items)
            out.append(ranker(batch, sequence).numpy())
    return np.concatenate(out)
