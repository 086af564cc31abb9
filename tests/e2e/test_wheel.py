"""A built wheel, installed where no checkout is in sight, makes feeds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("pyproject.toml", "README.md", "LICENSE", "src")


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources, so that nothing is left in the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / part, folder / part, ignore=ignored)
        else:
            shutil.copy(ROOT / part, folder)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "out"]
    run(*build, cwd=folder)
    (made,) = (folder / "out").glob("wayline-*.whl")
    return made


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; what wayline needs is read from this one's.

    A path file lends this environment's packages; path files in *those* are not followed, so the editable
    wayline of a checkout stays out of sight.
    """
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index"),
        *("--quiet", wheel),
        cwd=folder,
    )
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_the_wheel_holds_the_licence_the_settings_and_the_demo_data(wheel: Path) -> None:
    names = run(sys.executable, "-m", "zipfile", "-l", wheel, cwd=wheel.parent)
    for name in (
        "licenses/LICENSE",
        "py.typed",
        "config_template.toml",
        "journeys/blocked_terms.txt",
        "evaluation/rubric.md",
        "online-retail/actions.parquet",
    ):
        assert name in names


def test_the_installed_package_is_the_wheel_and_not_the_checkout(elsewhere: Path) -> None:
    python = elsewhere / "venv" / "bin" / "python"
    where = run(python, "-c", "import wayline; print(wayline.__file__)", cwd=elsewhere)
    assert where.startswith(str(elsewhere))


SUBSET = """
import polars as pl
from wayline import datasets

shop = datasets.online_retail()
actions = pl.scan_parquet(shop.actions)
few = actions.select("user_id").unique().sort("user_id").head(150)
actions.join(few, on="user_id", how="semi").collect().write_parquet("few.parquet")
print(shop.items)
"""


def test_the_installed_wheel_goes_from_its_own_data_to_a_feed(elsewhere: Path) -> None:
    """The demo's way on 150 of its customers; the whole demo takes a minute or two."""
    bin_ = elsewhere / "venv" / "bin"
    settings = {
        "WAYLINE_EMBEDDINGS__KIND": "graph",  # titles would cost ten seconds
        "WAYLINE_TIME__CLOCK": "log",
        "WAYLINE_ACTIONS__BUY": "1.0",
        "WAYLINE_ACTIONS__RETURN": "-1.0",
    }

    def wayline(*arguments: str | Path) -> str:
        return run(bin_ / "wayline", *arguments, cwd=elsewhere, **settings)

    items = run(bin_ / "python", "-c", SUBSET, cwd=elsewhere).strip()
    assert items.startswith(str(elsewhere))
    wayline("init", "shop")
    receipt = json.loads(wayline("import", "few.parquet", items, "-w", "shop", "--json"))
    assert [file["kind"] for file in receipt["files"]] == ["actions", "items"]
    assert all(file["accepted"] > 3_000 and not file["rejected"] for file in receipt["files"])
    feed = json.loads(wayline("feed", "12347", "-w", "shop", "--limit", "5", "--json"))
    assert len(feed["items"]) == 5
    assert not feed["cold_start"]
    assert all(item["reasons"] and item["title"] for item in feed["items"])
    assert "Nothing wrong with shop" in wayline("doctor", "-w", "shop")
