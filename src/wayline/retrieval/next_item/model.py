"""The torch side of the next-item model: what is trained, and the readable twin of the numpy forward pass."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from wayline.retrieval.next_item.config import NextItemConfig
from wayline.retrieval.next_item.sequences import GAP_BUCKETS
from wayline.schema import FloatMatrix

NORM_EPS = 1e-8  # SASRec's
INIT_STD = 0.02  # of item, position and time embeddings: chosen, not published


class Block(nn.Module):
    """One SASRec block: attention whose queries alone are normalised, then a feed-forward layer.

    Keys and values read the raw tokens and the residual starts from the normalised query (Kang and McAuley 2018,
    as in their code rather than their formula). On validation it learned twice as fast as the usual pre-norm block.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_query = nn.LayerNorm(dim, NORM_EPS)
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm_feed = nn.LayerNorm(dim, NORM_EPS)
        self.feed_in = nn.Linear(dim, dim)
        self.feed_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, later: Tensor) -> Tensor:
        """Give the tokens after the block, [B, S, D]; ``later [S, S]`` is true where a key follows the query."""
        b, s, d = x.shape
        h, w = self.heads, d // self.heads
        q_in = self.norm_query(x)
        q = self.query(q_in).view(b, s, h, w).transpose(1, 2)  # [B, H, S, D/H]
        k, v = self.key_value(x).view(b, s, 2, h, w).unbind(2)
        near = q @ k.permute(0, 2, 3, 1) / math.sqrt(w)  # [B, H, S, S]
        attention = functional.dropout(
            near.masked_fill(later, -torch.inf).softmax(-1), self.dropout, self.training
        )
        found = (attention @ v.transpose(1, 2)).transpose(1, 2).reshape(b, s, d)
        x = self.norm_feed(q_in + self.out(found))
        hidden = functional.dropout(functional.relu(self.feed_in(x)), self.dropout, self.training)
        return x + functional.dropout(self.feed_out(hidden), self.dropout, self.training)


class NextItemNet(nn.Module):
    """A causal transformer that answers every prefix of a history with a query vector.

    SASRec (Kang and McAuley 2018) with a softmax loss; item embeddings are the same going in and coming out. It differs
    in two ways: positions count from the start of the window, not from its padded end, so that a step means the same in
    training and in serving; optionally each token knows how long it was until the next one.

    Parameters
    ----------
    n_items : int
    config : NextItemConfig
    """

    def __init__(self, n_items: int, config: NextItemConfig) -> None:
        super().__init__()
        self.config = config
        self.item = nn.Embedding(n_items, config.dim)
        self.position = nn.Embedding(config.max_len, config.dim)
        self.gap = nn.Embedding(GAP_BUCKETS, config.dim) if config.time_features else None
        self.blocks = nn.ModuleList(
            Block(config.dim, config.heads, config.dropout) for _ in range(config.blocks)
        )
        self.norm = nn.LayerNorm(config.dim, NORM_EPS)
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=INIT_STD)
            elif isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)

    def items(self, item_idx: Tensor | None = None) -> Tensor:
        """Give the vectors of some items or of all, [.., D]: of unit length with a temperature."""
        rows = self.item.weight if item_idx is None else self.item(item_idx)
        return functional.normalize(rows, dim=-1) if self.config.temperature else rows

    def forward(self, item_idx: Tensor, gap_bucket: Tensor | None = None) -> Tensor:
        """Give a query after every token.

        Parameters
        ----------
        item_idx : int64 tensor, shape [B, S]
            Oldest first, S at most ``max_len``; padding stands at the end and reaches no earlier token.
        gap_bucket : int64 tensor, shape [B, S], optional
            Read with ``time_features`` only.

        Returns
        -------
        float32 tensor, shape [B, S, D]
            Its dot product with a row of ``items`` is that item's logit.
        """
        s, temperature = item_idx.shape[1], self.config.temperature
        place = torch.arange(s, device=item_idx.device)
        x = self.items(item_idx) * math.sqrt(self.config.dim) + self.position(place)
        if self.gap is not None:
            if gap_bucket is None:
                raise ValueError("Got no gap_bucket, expected one: the model has time features.")
            x = x + self.gap(gap_bucket)
        x = functional.dropout(x, self.config.dropout, self.training)
        later = place[None] > place[:, None]
        for block in self.blocks:
            x = block(x, later)
        out: Tensor = self.norm(x)
        return functional.normalize(out, dim=-1) / temperature if temperature else out

    @torch.no_grad()
    def start_from(self, item_vectors: FloatMatrix) -> None:
        """Let item embeddings begin as given vectors: rotated to their main axes, cut or filled to D, scaled.

        Parameters
        ----------
        item_vectors : float32 array, shape [N, any]
            Rows of zeros keep their random start.
        """
        given = torch.from_numpy(item_vectors).float()
        there = given.norm(dim=1) > 0
        if not there.any():
            return
        _, _, axes = torch.linalg.svd(given[there] - given[there].mean(0), full_matrices=False)
        axes = axes[: self.config.dim]
        turned = (given[there] - given[there].mean(0)) @ axes.T
        scale = INIT_STD / turned.pow(2).mean().sqrt().clamp(min=1e-12)
        weight = self.item.weight
        rows = weight[there]
        rows[:, : len(axes)] = turned * scale
        weight[there] = rows

    def arrays(self) -> Mapping[str, FloatMatrix]:
        """Give a copy of the weights as numpy arrays, by their names."""
        return {
            name: value.detach().cpu().numpy().copy() for name, value in self.state_dict().items()
        }
