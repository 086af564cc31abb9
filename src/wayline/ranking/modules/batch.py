"""What a ranker is given at once: candidates, and the sequences of the requests that they belong to."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class RankerBatch:
    """Candidates (B rows) of requests (R rows): a sequence is held once a request, not once a candidate.

    Attributes
    ----------
    numeric : float32, shape [B, F]
        Features in the order they were trained in; NaN where one is not known.
    item_idx : int64, shape [B]
        1..n_items, 0 for an item that training did not know.
    base_score : float32, shape [B], or None
        Log-odds of the blend that serves without a ranker.
    request_idx : int64, shape [B]
        Which of the R requests each candidate belongs to.
    action_type, item_vector, action_ts_ms, request_ts_ms : shapes [R, S], [R, S, D], [R, S], [R]
        The sequences of the requests, newest first (:class:`~wayline.ranking.modules.transact.TransAct`).
    candidate_vector : float32, shape [B, D]
        Vectors of the candidates.
    user_vector : float32, shape [R, U], optional
        A vector of the person.
    action_bits, surface, token_vector, token_valid : shapes [B, T], [B, T], [B, T, D], [B, T], optional
        Tokens selected for each candidate (:class:`~wayline.ranking.modules.transact_v2.TransActV2`).
    """

    numeric: Tensor
    item_idx: Tensor
    base_score: Tensor | None
    request_idx: Tensor
    action_type: Tensor
    item_vector: Tensor
    action_ts_ms: Tensor
    request_ts_ms: Tensor
    candidate_vector: Tensor
    user_vector: Tensor | None = None
    action_bits: Tensor | None = None
    surface: Tensor | None = None
    token_vector: Tensor | None = None
    token_valid: Tensor | None = None

    def __len__(self) -> int:
        return self.numeric.shape[0]

    def to(self, device: torch.device | str) -> RankerBatch:
        """The same batch on another device."""
        moved = {
            f.name: value.to(device, non_blocking=True)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)
