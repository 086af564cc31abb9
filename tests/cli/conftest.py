"""A workspace made by the commands themselves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cli.cli_shop import here, write_orders, write_products
from wayline.cli.app import run

SETTINGS = {  # views count, now is the newest action, builds need no language model
    "WAYLINE_ACTIONS__VIEW": "1.0",
    "WAYLINE_TIME__CLOCK": "log",
    "WAYLINE_EMBEDDINGS__KIND": "graph",
}


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of every command in these tests."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def workspace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """An empty workspace."""
    assert here(capsys, "init", tmp_path / "shop").code == 0
    return tmp_path / "shop"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with products, orders, and a workspace built of them; not to be written to."""
    folder = tmp_path_factory.mktemp("built")
    orders, products = write_orders(folder / "orders.csv"), write_products(folder / "products.csv")
    shop = str(folder / "shop")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        for line in (
            ["init", shop],
            ["import", str(orders), "-w", shop, "--map", "ts=ordered"],
            ["import", str(products), "-w", shop],
            ["build", "-w", shop],
        ):
            assert run(line) == 0
    return folder


@pytest.fixture
def shop(built: Path, tmp_path: Path) -> Path:
    """A workspace of one's own with products and orders, built."""
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    return tmp_path / "shop"
