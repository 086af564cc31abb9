"""The next-action loss as a term of a ranker's training: its pairs and negatives are read off the batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wayline.ranking.modules.batch import RankerBatch
from wayline.ranking.modules.next_action import NextActionLoss, next_pairs
from wayline.ranking.modules.ranker import Ranker
from wayline.ranking.modules.transact_v2 import TransActV2
from wayline.ranking.selection import TokenShares


@dataclass(frozen=True, slots=True)
class NextActions:
    """What is foretold of the newest part of a sequence.

    Attributes
    ----------
    weight : float
        Of the term beside the ranker's own loss; 0.01 in the paper.
    shares : TokenShares
        Where the parts stand. Negatives are the selected impressions where those have a share, else other people's
        next items of the batch.
    wanted_bits, unwanted_bits : int
        A token is foretold if it has one of the former and none of the latter: what was wanted and not regretted.
    """

    weight: float
    shares: TokenShares
    wanted_bits: int
    unwanted_bits: int


class NextActionTerm(nn.Module):
    """``weight * L_NAL`` (TransAct V2 2025, section 3.4, eq. 5-7); its projection is trained and then thrown away.

    Where we differ: the negatives of a row are the impressions *selected* for its candidate, not all of them: they are
    what the batch holds, and the hardest.
    """

    def __init__(self, ranker: Ranker, settings: NextActions) -> None:
        super().__init__()
        self.settings = settings
        self.loss = NextActionLoss(
            ranker.encoder.out_dim,
            ranker.config.item_dim,
            negatives="impression" if settings.shares.impression else "batch",
        )

    @classmethod
    def of(
        cls, ranker: Ranker, settings: NextActions | None, device: torch.device
    ) -> NextActionTerm | None:
        """Make the term for an encoder whose rows it can read; None for others, or without a weight."""
        if settings is None or settings.weight <= 0 or not isinstance(ranker.encoder, TransActV2):
            return None
        return cls(ranker, settings).to(device)

    def forward(self, states: Tensor, inputs: RankerBatch, user_idx: Tensor) -> Tensor:
        """Give the weighted loss, a scalar.

        Parameters
        ----------
        states : float32, shape [B, T, d]
        inputs : RankerBatch
        user_idx : int64, shape [B]
            Whose row it is.
        """
        bits, vectors, valid = inputs.action_bits, inputs.token_vector, inputs.token_valid
        assert bits is not None
        assert vectors is not None
        assert valid is not None
        settings = self.settings
        positive = ((bits & settings.wanted_bits) != 0) & ((bits & settings.unwanted_bits) == 0)
        _, recent, _, shown = settings.shares.parts
        pairs = next_pairs(states, vectors, valid, recent, positive)
        if self.loss.negatives == "batch":
            loss = self.loss(*pairs, owner=user_idx)
        else:
            loss = self.loss(*pairs, vectors[:, shown], negative_valid=valid[:, shown])
        return torch.as_tensor(settings.weight * loss)
