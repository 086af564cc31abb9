"""Intake: files and frames become validated actions and items, with a reason for every row that was
refused.

It knows nothing of the store: it yields `Chunk` after `Chunk` in bounded memory.

>>> rows = [{"user": "u1", "sku": 85123, "time": "2011-12-09T12:50:00Z"}]
>>> chunk = validate_actions(rows, now_ts_ms=1_400_000_000_000)
>>> chunk.frame.row(0)
(0, 'u1', '85123', 1323435000000, 'view')
"""

from __future__ import annotations

from wayline.intake.actions import ACTION_SCHEMA, read_actions, validate_actions
from wayline.intake.batch import Chunk
from wayline.intake.columns import ColumnMap, guess_columns
from wayline.intake.items import ITEM_SCHEMA, read_items, validate_items
from wayline.intake.reading import columns_of
from wayline.intake.rejects import RejectsWriter

__all__ = [
    "ACTION_SCHEMA",
    "ITEM_SCHEMA",
    "Chunk",
    "ColumnMap",
    "RejectsWriter",
    "columns_of",
    "guess_columns",
    "read_actions",
    "read_items",
    "validate_actions",
    "validate_items",
]
