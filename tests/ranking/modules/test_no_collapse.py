"""Training must not collapse: public TransAct code is reported at AUC 0.5 in five of six settings of layers and k."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from wayline.ranking import Ranker, RankerBatch, RankerConfig, TransActConfig

NOW_MS = 1_700_000_000_000
DIM, TOPICS, LENGTH, CANDIDATES = 6, 8, 8, 4


def people(count: int, seed: int) -> tuple[RankerBatch, Tensor]:
    """People who like one topic and hide another, both in their sequence: only the action says which is which."""
    generator = torch.Generator().manual_seed(seed)
    topics = nn.functional.normalize(
        torch.randn(TOPICS, DIM, generator=torch.Generator().manual_seed(99)), dim=1
    )

    def vector(topic: Tensor) -> Tensor:
        noise = torch.randn(*topic.shape, DIM, generator=generator)
        return nn.functional.normalize(topics[topic] + 0.1 * noise, dim=-1)

    liked = torch.randint(0, TOPICS, (count,), generator=generator)
    hidden = (liked + torch.randint(1, TOPICS, (count,), generator=generator)) % TOPICS
    action = torch.randint(1, 3, (count, LENGTH), generator=generator)
    length = torch.randint(0, 2 * LENGTH, (count, 1), generator=generator)  # some short, some empty
    request_idx = torch.arange(count).repeat_interleave(CANDIDATES)
    good = torch.rand(count * CANDIDATES, generator=generator) < 0.5
    truth = torch.where(good, liked[request_idx], hidden[request_idx])
    label = torch.rand(len(good), generator=generator) < torch.where(good, 0.9, 0.1)
    batch = RankerBatch(
        numeric=50 * torch.randn(len(good), 2, generator=generator),
        item_idx=torch.zeros(len(good), dtype=torch.int64),
        base_score=None,
        request_idx=request_idx,
        action_type=action * (torch.arange(LENGTH) < length),
        item_vector=vector(torch.where(action == 1, liked[:, None], hidden[:, None])),
        action_ts_ms=NOW_MS - 14_400_000 * torch.arange(1, LENGTH + 1).expand(count, -1),
        request_ts_ms=torch.full((count,), NOW_MS),
        candidate_vector=vector(truth),
    )
    return batch, label.float()


def grouped_auc(score: Tensor, label: Tensor) -> float:
    """Mean AUC of the requests that have both labels."""
    score, label = score.reshape(-1, CANDIDATES), label.reshape(-1, CANDIDATES)
    pair = (label[:, :, None] > label[:, None, :]).float()
    right = (score[:, :, None] > score[:, None, :]).float()
    right = right + 0.5 * (score[:, :, None] == score[:, None, :]).float()
    count = pair.sum(dim=(1, 2))
    both = count > 0
    return float(((right * pair).sum(dim=(1, 2))[both] / count[both]).mean())


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("first_k", [1, 2, 10])
def test_training_does_not_collapse(layers: int, first_k: int) -> None:
    torch.manual_seed(0)
    sequence = TransActConfig(
        item_dim=DIM, action_dim=4, n_actions=2, layers=layers, first_k=first_k, feedforward=16
    )
    ranker = Ranker(
        RankerConfig(
            heads=("click",),
            n_numeric=2,
            item_dim=DIM,
            sequence=sequence,
            sequence_dim=None,  # all columns into a full-rank cross, where the public code collapses
            cross_layers=3,
        )
    )
    optimiser = torch.optim.Adam(ranker.parameters(), lr=1e-3)
    loss = torch.tensor(0.0)
    for step in range(STEPS := 80):
        batch, label = people(48, seed=1000 + step)
        optimiser.param_groups[0]["lr"] = 1e-3 * min(1.0, (step + 1) / (STEPS / 4))
        optimiser.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(ranker.train()(batch)[:, 0], label)
        loss.backward()
        nn.utils.clip_grad_norm_(ranker.parameters(), 1.0)
        optimiser.step()
    batch, label = people(300, seed=1)
    with torch.no_grad():
        logits = ranker.eval()(batch)[:, 0]
    assert torch.isfinite(loss)
    assert grouped_auc(logits, label) >= 0.65
