"""Logs to evaluate on: a small made one, and the shared sets where they are."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"


@pytest.fixture
def small_log() -> pl.DataFrame:
    """60 people in two tastes over 40 items and 30 days, with returns, repeats and ties in time."""
    rng = np.random.default_rng(7)
    rows = []
    for user in range(60):
        items = rng.permutation(20)[: rng.integers(4, 14)] + 20 * (user % 2)
        for item in [*items, items[0]]:
            ts = 1_300_000_000_000 + int(rng.integers(0, 30 * 24)) * 3_600_000
            action = "return" if rng.random() < 0.1 else "buy"
            rows.append((f"u{user}", f"i{item}", ts, action))
    columns = ["user_id", "item_id", "ts", "action"]
    return pl.DataFrame(rows, schema=columns, orient="row").sort("ts", maintain_order=True)


@pytest.fixture(scope="session")
def reference():
    """The project's reference protocol, where it is checked out beside the repository."""
    path = SHARED / "check" / "protocol.py"
    if not path.exists():
        pytest.skip("shared: ../shared/check/protocol.py is not here")
    spec = importlib.util.spec_from_file_location("shared_protocol", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["shared_protocol"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def shared_set():
    """Folder of a shared set by name; skips by name where it is absent."""

    def find(name: str) -> Path:
        folder = SHARED / "data" / name
        if not folder.exists():
            pytest.skip(f"shared: ../shared/data/{name} is not here")
        return folder

    return find
