"""What a fresh interpreter loads: a server without a learned ranker never pays for torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HEAVY = {"torch", "sentence_transformers", "transformers", "sklearn", "pandas", "nicegui"}


def loaded_by(script: str, cwd: Path) -> set[str]:
    """Top-level modules that a script has loaded when it ends, in an interpreter of its own."""
    ending = (
        "\nimport json, sys\nprint(json.dumps(sorted({n.partition('.')[0] for n in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script + ending],
        cwd=cwd,
        env=os.environ | {"WAYLINE_EMBEDDINGS__KIND": "graph"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_loads_nothing_heavy(tmp_path: Path) -> None:
    loaded = loaded_by("import wayline", tmp_path)
    assert not loaded & (HEAVY | {"numpy", "numba", "polars", "scipy", "fastapi"})


def test_a_feed_loads_neither_torch_nor_scikit_learn(tmp_path: Path) -> None:
    write = (
        "import wayline\n"
        "rows = [{'user_id': f'u{u}', 'item_id': f'i{(u * 3 + k) % 11}', 'ts': 1_700_000_000 + 60 * k}\n"
        "        for u in range(12) for k in range(6)]\n"
        "with wayline.open('shop', create=True) as engine:\n"
        "    assert engine.add_actions(rows).accepted == 72\n"
        "    engine.build()\n"
    )
    read = (
        "import wayline\n"
        "with wayline.open('shop') as engine:\n"
        "    assert engine.feed('u1', limit=3).items[0].reasons\n"
        "    assert engine.interests('u1')\n"
    )
    loaded_by(write, tmp_path)
    assert not loaded_by(read, tmp_path) & HEAVY


def test_a_server_that_nobody_looks_into_does_not_load_the_studio(tmp_path: Path) -> None:
    serve = (
        "import wayline\n"
        "from wayline.server import create_app\n"
        "with wayline.open('shop', create=True) as engine:\n"
        "    create_app(engine)\n"
    )
    assert not loaded_by(serve, tmp_path) & HEAVY
