"""A built wheel, installed where no checkout is in sight, runs the demo."""

from __future__ import annotations

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
        "online-retail/actions.parquet",
    ):
        assert name in names


def test_the_installed_package_is_the_wheel_and_not_the_checkout(elsewhere: Path) -> None:
    python = elsewhere / "venv" / "bin" / "python"
    where = run(python, "-c", "import wayline; print(wayline.__file__)", cwd=elsewhere)
    assert where.startswith(str(elsewhere))


@pytest.mark.slow
@pytest.mark.timeout(600)  # a minute alone; more on a busy machine
def test_the_installed_wheel_runs_the_demo_outside_the_checkout(elsewhere: Path) -> None:
    command = [elsewhere / "venv" / "bin" / "wayline", "demo", "--dir", "shop", "--port", "0"]
    shown = run(*command, cwd=elsewhere, WAYLINE_DEMO_ONESHOT="1")
    assert "One request answered (200)" in shown
    assert (elsewhere / "shop" / "data" / "generations" / "current").exists()
