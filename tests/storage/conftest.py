"""A real store in a temporary folder, and short ways to make frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from wayline.storage import Store, open_store

SCHEMA = {
    "user_id": pl.String,
    "item_id": pl.String,
    "ts_ms": pl.Int64,
    "action": pl.String,
    "value": pl.Float64,
    "surface": pl.String,
    "request_id": pl.String,
    "action_id": pl.String,
    "query": pl.String,
    "board": pl.String,
}


def frame(rows: Sequence[tuple[str, str, int, str] | dict[str, Any]]) -> pl.DataFrame:
    """Actions from (user, item, ts, action) or from dicts with more."""
    dicts = [r if isinstance(r, dict) else dict(zip(SCHEMA, r, strict=False)) for r in rows]
    return pl.DataFrame(dicts, schema=SCHEMA)


@pytest.fixture(name="frame")
def frame_fixture() -> Any:
    return frame


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "wayline.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with open_store(path, create=True) as opened:
        yield opened
        assert opened.check() == []
