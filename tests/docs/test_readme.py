"""The README's commands do what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
START_S = 120  # a first build and a server's start, on a busy machine


def blocks(mark: str) -> list[str]:
    """The fenced blocks that stand below ``<!-- test: MARK -->``."""
    return re.findall(rf"<!-- test: {mark} -->\n```\w+\n(.*?)```", README, re.DOTALL)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def environment(port: int) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "WAYLINE_SERVER__PORT": str(port)}


@contextmanager
def serving(script: str, cwd: Path, port: int) -> Iterator[None]:
    """Run a script whose last command is a server, until it says that it serves; then stop it."""
    process = subprocess.Popen(
        [
            "bash",
            "-euo",
            "pipefail",
            "-c",
            re.sub(r"^(wayline serve)", r"exec \1", script, flags=re.M),
        ],
        cwd=cwd,
        env=environment(port),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    watchdog = threading.Timer(START_S, process.kill)  # its pipe closes, and the loop ends
    watchdog.start()
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if line.startswith("Serving"):
                break
        else:
            pytest.fail("It never served:\n" + "".join(said))
        yield
    finally:
        watchdog.cancel()
        process.terminate()
        process.communicate(timeout=60)


def test_the_own_data_transcript_ends_in_a_feed_with_reasons(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (start,), (ask,) = blocks("serve"), blocks("ask")
    port = free_port()
    assert "127.0.0.1:8000/" in ask
    with serving(start, tmp_path, port):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", ask.replace(":8000/", f":{port}/")],
            env=environment(port),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert len(answer["items"]) == 3
    assert all(reason["text"] for item in answer["items"] for reason in item["reasons"])
    assert all(item["reasons"] for item in answer["items"])


@pytest.mark.parametrize("script", blocks("python"))
def test_the_python_examples_run(script: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"WAYLINE_EMBEDDINGS__KIND": "graph"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_every_setting_that_the_readme_shows_is_one(tmp_path: Path) -> None:
    from wayline.config import Config, load_config

    (shown,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "wayline.toml").write_text(shown)
    config = load_config(tmp_path / "wayline.toml", environ={})
    assert config.actions == {"buy": 1.0, "return": -1.0}
    assert config.interests == Config().interests
    assert config.feed == Config().feed
