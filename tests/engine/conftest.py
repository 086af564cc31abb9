"""A built workspace, made once and copied for each test that changes it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_shop import made_items, made_log, opened

from wayline.engine import Engine


@pytest.fixture(scope="session")
def built_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop") / "shop"
    with opened(folder) as engine:
        engine.add_items(made_items())
        engine.add_actions(made_log())
        engine.build()
    return folder


@pytest.fixture
def folder(built_folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(built_folder, tmp_path / "shop")
    return tmp_path / "shop"


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    with opened(folder) as engine:
        yield engine
    with opened(folder) as again:
        assert again.doctor() == []
