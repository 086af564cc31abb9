"""A workspace made by the commands themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.cli_shop import here, write_orders, write_products


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Views count, now is the newest action, builds need no language model."""
    monkeypatch.setenv("WAYLINE_ACTIONS__VIEW", "1.0")
    monkeypatch.setenv("WAYLINE_TIME__CLOCK", "log")
    monkeypatch.setenv("WAYLINE_EMBEDDINGS__KIND", "graph")


@pytest.fixture
def workspace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """An empty workspace."""
    assert here(capsys, "init", tmp_path / "shop").code == 0
    return tmp_path / "shop"


@pytest.fixture
def shop(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A built workspace with products and orders."""
    orders = write_orders(tmp_path / "orders.csv")
    products = write_products(tmp_path / "products.csv")
    columns = ["--map", "ts=ordered"]
    assert here(capsys, "import", orders, "-w", workspace, *columns).code == 0
    assert here(capsys, "import", products, "-w", workspace).code == 0
    assert here(capsys, "build", "-w", workspace).code == 0
    return workspace
