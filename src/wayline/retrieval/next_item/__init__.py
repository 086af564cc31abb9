"""A learned next-item retriever: a causal transformer over what a person wanted, in the order they wanted it.

``fit_next_item`` and ``NextItemNet`` need torch and are loaded when first asked for; ``NextItemModel``, what serving
uses, is numpy alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from wayline.retrieval.next_item.config import NextItemConfig
from wayline.retrieval.next_item.inference import NextItemModel

if TYPE_CHECKING:
    from wayline.retrieval.next_item.model import NextItemNet
    from wayline.retrieval.next_item.training import NextItemProgress, fit_next_item

_HOME = {
    "NextItemNet": "wayline.retrieval.next_item.model",
    "NextItemProgress": "wayline.retrieval.next_item.training",
    "fit_next_item": "wayline.retrieval.next_item.training",
}
__all__ = ["NextItemConfig", "NextItemModel", "NextItemNet", "NextItemProgress", "fit_next_item"]


def __getattr__(name: str) -> Any:
    """Load the module that holds ``name`` when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
