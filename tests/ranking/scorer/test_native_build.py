"""Compiling a kernel: cached, rebuilt when damaged, and done without where it cannot be had."""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wayline.ranking.scorer import native

SOURCE = 'extern "C" int answer() { return ANSWER; }\n'
needs_compiler = pytest.mark.skipif(native.find_compiler() is None, reason="no C++ compiler")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a source, a cache of its own, and nothing remembered."""
    monkeypatch.setenv("WAYLINE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("WAYLINE_NATIVE", raising=False)
    write(tmp_path, 42)
    native.forget_loaded()
    yield tmp_path
    monkeypatch.undo()
    native.forget_loaded()


def write(folder: Path, answer: int) -> None:
    (folder / "tiny.cpp").write_text(SOURCE.replace("ANSWER", str(answer)), "utf-8")


def load_anew(folder: Path) -> ctypes.CDLL | None:
    native.forget_loaded()
    return native.load("tiny.cpp", folder=folder)


def libraries(folder: Path) -> list[Path]:
    return sorted((folder / "cache" / "native").glob(f"tiny-*{native._SUFFIX}"))


@needs_compiler
def test_a_kernel_is_compiled_once_and_then_comes_from_the_cache(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = load_anew(folder)
    assert library is not None
    assert library.answer() == 42
    (made,) = libraries(folder)
    before = made.stat().st_mtime_ns

    def refuse(*_: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(native, "_compile", refuse)
    again = load_anew(folder)
    assert again is not None
    assert again.answer() == 42
    assert made.stat().st_mtime_ns == before


@needs_compiler
def test_a_changed_source_or_header_is_another_library(folder: Path) -> None:
    assert load_anew(folder) is not None
    write(folder, 43)
    changed = load_anew(folder)
    assert changed is not None
    assert changed.answer() == 43
    (folder / "extra.hpp").write_text("// more\n", "utf-8")
    assert load_anew(folder) is not None
    assert len(libraries(folder)) == 3


@needs_compiler
def test_a_damaged_library_is_compiled_again_and_never_opened(folder: Path) -> None:
    assert load_anew(folder) is not None
    (made,) = libraries(folder)
    whole = made.read_bytes()
    made.unlink()  # the one that is mapped stays as it is
    made.write_bytes(whole[: len(whole) // 2])
    library = load_anew(folder)
    assert library is not None
    assert library.answer() == 42
    assert len(made.read_bytes()) == len(whole)


@needs_compiler
def test_processes_may_compile_at_the_same_time(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from wayline.ranking.scorer import native; "
        "assert native.load('tiny.cpp', folder=Path(sys.argv[1])).answer() == 42; "
        "assert 'torch' not in sys.modules"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(folder)], env=dict(os.environ))
        for _ in range(3)
    ]
    assert [process.wait(timeout=120) for process in started] == [0, 0, 0]
    assert len(libraries(folder)) == 1
    assert not list((folder / "cache" / "native").glob(".build-*"))


@needs_compiler
def test_a_cache_that_others_can_write_to_is_not_trusted(folder: Path) -> None:
    shared = folder / "cache" / "native"
    shared.mkdir(parents=True)
    shared.chmod(0o777)
    library = load_anew(folder)
    assert library is not None
    assert library.answer() == 42
    assert not libraries(folder)


@needs_compiler
def test_without_a_usable_cache_folder_a_temporary_one_serves(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "file").write_text("in the way", "utf-8")
    monkeypatch.setenv("WAYLINE_CACHE_DIR", str(folder / "file"))
    library = load_anew(folder)
    assert library is not None
    assert library.answer() == 42


@pytest.mark.parametrize("compiler", ["no-such-compiler-here", "false"])
def test_an_absent_or_failing_compiler_is_logged_in_one_line(
    folder: Path,
    compiler: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("CXX", compiler)
    with caplog.at_level(logging.INFO):
        assert load_anew(folder) is None
        assert native.load("tiny.cpp", folder=folder) is None  # decided once
    (record,) = caplog.records
    assert "\n" not in record.getMessage()
    assert "torch path" in record.getMessage()


@needs_compiler
def test_a_source_that_does_not_compile_says_the_compilers_reason(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "tiny.cpp").write_text("int answer() { return nothing; }\n", "utf-8")
    assert load_anew(folder) is None
    (record,) = caplog.records
    assert "nothing" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_kernels_can_be_switched_off_without_a_word(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WAYLINE_NATIVE", "0")
    assert not native.available()
    assert load_anew(folder) is None
    assert not caplog.records
