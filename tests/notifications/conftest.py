"""A shop in a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from made_journeys import Shop

from wayline.storage import open_store


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_store(tmp_path / "wayline.db", create=True) as store:
        yield Shop(store, tmp_path)
        assert store.check() == []
