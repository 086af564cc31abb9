"""A generation is published whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wayline.errors import NoGenerationError, WorkspaceError
from wayline.storage import Generations


def _publish(generations: Generations, content: str = "x") -> str:
    with generations.begin() as writer:
        (writer.path / "deep").mkdir()
        (writer.path / "deep" / "vectors.npy").write_text(content)
        (writer.path / "recipe.json").write_text(content * 2)
        return writer.publish({"position": 7})


@pytest.fixture
def generations(tmp_path: Path) -> Generations:
    return Generations(tmp_path / "generations")


def test_a_published_generation_is_current_and_as_its_manifest_says(
    generations: Generations,
) -> None:
    assert generations.current() is None
    assert generations.list() == []
    id_ = _publish(generations)
    assert generations.current() == id_ == "g000001"
    path, manifest = generations.open(id_)
    assert (path / "deep" / "vectors.npy").read_text() == "x"
    assert (manifest["position"], manifest["id"]) == (7, id_)
    assert manifest["files"]["deep/vectors.npy"]["bytes"] == 1
    assert generations.verify(id_) == []


def test_another_opener_sees_the_switch(generations: Generations) -> None:
    other = Generations(generations.root)
    assert other.current() is None
    for _ in range(3):
        id_ = _publish(generations)
        assert other.current() == id_


def test_what_was_changed_afterwards_is_found(generations: Generations) -> None:
    id_ = _publish(generations)
    path, _ = generations.open(id_)
    (path / "recipe.json").write_text("yy")
    (path / "deep" / "vectors.npy").unlink()
    (path / "stray").write_text("")
    assert generations.verify(id_) == [
        f"{id_}/deep/vectors.npy is missing",
        f"{id_}/stray was not built",
        f"{id_}/recipe.json changed since it was built",
    ]


def test_rolling_back_goes_one_back_and_then_says_that_there_is_no_more(
    generations: Generations,
) -> None:
    with pytest.raises(NoGenerationError, match="wayline build"):
        generations.rollback()
    ids = [_publish(generations) for _ in range(3)]
    assert generations.rollback() == ids[1] == generations.current()
    assert generations.rollback() == ids[0]
    with pytest.raises(NoGenerationError, match="wayline build"):
        generations.rollback()
    assert _publish(generations) == "g000004" == generations.current()


def test_pruning_keeps_the_newest_and_the_current_one(generations: Generations) -> None:
    ids = [_publish(generations) for _ in range(6)]
    for _ in range(5):
        generations.rollback()
    assert generations.prune(keep=2) == ids[1:4]
    assert generations.list() == [ids[0], *ids[4:]]
    assert generations.prune(keep=2) == []


def test_what_is_not_there_or_not_readable_is_said(generations: Generations) -> None:
    id_ = _publish(generations)
    with pytest.raises(NoGenerationError, match=f"kept: {id_}"):
        generations.open("g999999")
    (generations.root / id_ / "manifest.json").write_text("{")
    with pytest.raises(WorkspaceError, match="wayline rollback"):
        generations.open(id_)


def test_an_aborted_or_failed_build_leaves_nothing(generations: Generations) -> None:
    first = _publish(generations)

    def fail() -> None:
        with generations.begin() as writer:
            (writer.path / "half").write_text("x")
            raise ValueError("no vectors")

    with pytest.raises(ValueError, match="no vectors"):
        fail()
    with pytest.raises(ValueError, match="JSON"), generations.begin() as writer:
        writer.publish({"metric": float("nan")})
    assert sorted(p.name for p in generations.root.iterdir()) == ["current", first]


@pytest.mark.parametrize("dies_at", range(14))
def test_a_crash_at_any_step_leaves_the_old_or_the_new_one(
    generations: Generations, dies_at: int
) -> None:
    """The child exits without a word at its n-th fsync or rename."""
    old = _publish(generations, "old")
    crash = (
        "import os, sys, pathlib\n"
        "from wayline.storage.generations import Generations\n"
        "g = Generations(pathlib.Path(sys.argv[1])); left = int(sys.argv[2])\n"
        "def dying(do):\n"
        "    def step(*a, **k):\n"
        "        global left\n"
        "        if left == 0: os._exit(3)\n"
        "        left -= 1\n"
        "        return do(*a, **k)\n"
        "    return step\n"
        "w = g.begin(); (w.path / 'vectors').write_text('new')\n"
        "os.fsync, os.rename, os.replace = dying(os.fsync), dying(os.rename), dying(os.replace)\n"
        "w.publish({})\n"
    )
    code = subprocess.run(
        [sys.executable, "-c", crash, str(generations.root), str(dies_at)], check=False
    ).returncode
    assert code in (0, 3)
    current = generations.current()
    assert current in (old, "g000002")
    assert current is not None
    assert generations.verify(current) == []
    if code == 0:
        assert current == "g000002"
    after = _publish(generations, "after")  # the next build clears up
    assert generations.current() == after
    assert all(p.name[0] in "gc" for p in generations.root.iterdir())


def test_reading_current_again_is_only_a_stat(generations: Generations, monkeypatch: Any) -> None:
    id_ = _publish(generations)
    assert generations.current() == id_
    monkeypatch.setattr(Path, "read_text", lambda *_: pytest.fail("read again"))
    assert generations.current() == id_


def test_a_manifest_is_plain_json(generations: Generations) -> None:
    id_ = _publish(generations)
    text = (generations.root / id_ / "manifest.json").read_text()
    assert json.loads(text)["files"]
    assert os.stat(generations.root / id_).st_mode & 0o777 == 0o755
