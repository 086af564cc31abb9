"""TransAct V2's weights, rearranged so that a token is projected once, however many candidates select it.

Before the first layer a token is a sum (eq. 4 of the paper):

    F = [item | 0] + E_act + E_surf  +  E_pos  +  [0 | candidate]

The first layer's queries and values are linear in it, so their shares of a token, of a position and of a candidate
are each computed once, and a candidate's sequence is put together from them by adding. Keys need no projection at
all: with one head the key's weights are multiplied into the query's
(:mod:`wayline.ranking.scorer.transact_weights`), and what the candidate adds to a key is the same for all keys of a
query, which the softmax does not see.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wayline.ranking.modules.transact_v2 import TransActV2
from wayline.ranking.scorer.transact_weights import Layer, copied, layer_weights, norm_weights


@dataclass(frozen=True, slots=True)
class V2Weights:
    """A module's weights as the scorer reads them; float32 copies that later training does not change.

    A *share* has 3 d columns: what something adds to a token, to its first query, and to its first value.
    """

    layers: tuple[Layer, ...]
    item: (
        Tensor  # [D, 2 d]: query and value of an item's vector, which is its own share of the token
    )
    action: Tensor  # [A + 1, 3 d]: share of an action; row 0 that of no action
    surface: Tensor  # [surfaces + 1, 3 d]
    position: Tensor  # [T, 3 d], with the query's bias
    candidate: Tensor  # [D, 3 d]: share of a candidate's vector
    candidate_bias: Tensor  # [3 d]: what attention adds to every row whatever the candidate
    pooled: tuple[Tensor, Tensor]  # weight [d, d], bias [d]
    norm: tuple[Tensor, Tensor, float] | None  # of the output: gain, shift, epsilon
    causal: bool

    @property
    def width(self) -> int:
        """d, the width of a token."""
        return self.item.shape[1] // 2

    def candidate_share(self, candidate_vector: Tensor) -> Tensor:
        """Shares of candidates: ``[C, D]`` to ``[C, 3 d]``."""
        return candidate_vector @ self.candidate + self.candidate_bias


def unsupported_v2(module: TransActV2) -> str | None:
    """Why the scorer has to call the module itself; None if it need not."""
    if module.config.heads != 1:
        return f"{module.config.heads} heads"
    if module.encoder.norm is not None:
        return "a norm after the encoder"
    for layer in module.encoder.layers:
        if not isinstance(layer, nn.TransformerEncoderLayer) or layer.norm_first:
            return "a layer that is not a post-norm nn.TransformerEncoderLayer"
        if layer.activation_relu_or_gelu != 1:
            return "an activation other than ReLU"
    return None


def gather_v2_weights(module: TransActV2) -> V2Weights:
    """Multiply out what can be, in float64, and copy the rest."""
    config = module.config
    layers = tuple(layer_weights(layer) for layer in module.encoder.layers)
    first, width, dim = layers[0], config.out_dim, config.item_dim
    query, value = first.query.double(), first.value.double()
    everything = torch.cat([torch.eye(width).double(), query.T, value.T], dim=1)  # [d, 3 d]

    def shares(rows: Tensor, *, used: bool = True) -> Tensor:
        return (rows.detach().double() @ everything * float(used)).float().contiguous()

    position = shares(module.position_embedding.weight, used=config.positions)
    position[:, width : 2 * width] += first.query_bias
    nothing = torch.zeros(2 * width)
    return V2Weights(
        layers=layers,
        item=everything[:dim, width:].float().contiguous(),
        action=shares(module.action_embedding.weight, used=config.use_actions),
        surface=shares(module.surface_embedding.weight),
        position=position,
        candidate=everything[dim:].float().contiguous(),
        candidate_bias=torch.cat([nothing, first.out_bias]),
        pooled=(copied(module.pooled.weight), copied(module.pooled.bias)),
        norm=norm_weights(module.norm) if isinstance(module.norm, nn.LayerNorm) else None,
        causal=config.causal,
    )
