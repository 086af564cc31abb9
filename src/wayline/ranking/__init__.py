"""Learned ranking: how likely each action is, given the person's sequence, for every candidate.

The modules are plain ``torch.nn.Module`` classes that need no workspace. This package names them without loading torch:
a feed that no trained ranker serves never pays for it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wayline.ranking.modules.transact import TransAct, TransActConfig

_HOME = {
    "TransAct": "wayline.ranking.modules.transact",
    "TransActConfig": "wayline.ranking.modules.transact",
}
__all__ = ["TransAct", "TransActConfig"]


def __getattr__(name: str) -> Any:
    """Load the module that holds ``name`` when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
