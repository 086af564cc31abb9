"""Learned ranking: how likely each action is, given the person's sequence, for every candidate.

The modules are plain ``torch.nn.Module`` classes that need no workspace. This package names them without loading torch:
a feed that no trained ranker serves never pays for it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wayline.ranking.modules.batch import RankerBatch
    from wayline.ranking.modules.cross import DCNv2
    from wayline.ranking.modules.encoders import ENCODERS
    from wayline.ranking.modules.next_action import NextActionLoss
    from wayline.ranking.modules.ranker import Ranker, RankerConfig
    from wayline.ranking.modules.transact import TransAct, TransActConfig
    from wayline.ranking.modules.transact_v2 import TransActV2, TransActV2Config
    from wayline.ranking.scorer.transact import TransActScorer
    from wayline.ranking.scorer.transact_v2 import TransActV2Scorer

__all__ = [
    "ENCODERS",
    "DCNv2",
    "NextActionLoss",
    "Ranker",
    "RankerBatch",
    "RankerConfig",
    "TransAct",
    "TransActConfig",
    "TransActScorer",
    "TransActV2",
    "TransActV2Config",
    "TransActV2Scorer",
]
_HOME = {
    "ENCODERS": "modules.encoders",
    "DCNv2": "modules.cross",
    "NextActionLoss": "modules.next_action",
    "Ranker": "modules.ranker",
    "RankerBatch": "modules.batch",
    "RankerConfig": "modules.ranker",
    "TransAct": "modules.transact",
    "TransActConfig": "modules.transact",
    "TransActScorer": "scorer.transact",
    "TransActV2": "modules.transact_v2",
    "TransActV2Config": "modules.transact_v2",
    "TransActV2Scorer": "scorer.transact_v2",
}


def __getattr__(name: str) -> Any:
    """Load the module that holds ``name`` when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
