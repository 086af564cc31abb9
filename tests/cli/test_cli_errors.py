"""Whatever goes wrong is one line on stderr with the cure, and exit code 2."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import wayline
from cli.cli_shop import here, outside, write_orders

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (["feed", "u", "-w", "nowhere"], "wayline init"),
        (["doctor", "-w", "nowhere"], "wayline init"),
        (["import", "missing.csv", "-w", "SHOP"], "missing.csv"),
        (["import", "empty.csv", "-w", "SHOP"], "empty.csv"),
        (["import", "fake.parquet", "-w", "SHOP"], "fake.parquet"),
        (["import", "strange.csv", "-w", "SHOP"], "--map"),
        (["import", "orders.csv", "-w", "SHOP", "--map", "ts"], "--map user_id=CustomerID"),
        (["import", "orders.csv", "-w", "SHOP", "--map", "ts=nothing"], "nothing"),
        (["import", "orders.csv", "-w", "SHOP", "--kind", "users"], "wayline import --help"),
        (["import", "-w", "SHOP"], "wayline import --help"),
        (["build", "-w", "SHOP"], "import"),
        (["build", "-w", "SHOP", "--until", "soon"], "2026-01-31"),
        (["rollback", "-w", "SHOP"], "build"),
        (["feed", "u", "-w", "SHOP", "--limit", "0"], "wayline feed --help"),
        (["feed", "u", "-w", "SHOP", "--at", "soon"], "2026-01-31"),
        (["feed"], "wayline feed --help"),
        (["show", "item", "nothing", "-w", "SHOP"], "nothing"),
        (["show", "shop"], "wayline show --help"),
        (["init", "SHOP"], "-w"),
        (["restore", "missing", "again"], "missing"),
        (["bench", "nothing"], "nothing"),
        (["nothing"], "wayline --help"),
        (["--nothing"], "wayline --help"),
    ],
)
def test_a_command_that_cannot_be_done_is_one_line_with_the_cure(
    workspace: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    *,
    arguments: list[str],
    cure: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_orders(tmp_path / "orders.csv")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "fake.parquet").write_bytes(b"PAR0" * 10)
    (tmp_path / "strange.csv").write_text("a,b\n1,2\n")
    words = [str(workspace) if word == "SHOP" else word for word in arguments]
    result = here(capsys, *words)
    assert (result.code, result.out) == (2, "")
    assert result.error_line.startswith("error: ")
    assert cure in result.error_line
    machine = here(capsys, *words, "--json")
    assert (machine.code, machine.out) == (2, "")
    error = json.loads(machine.error_line)["error"]
    assert set(error) == {"code", "message", "field"}
    assert error["message"] == result.error_line.removeprefix("error: ")


def test_a_wrong_setting_is_one_line_that_names_it(tmp_path: Path) -> None:
    result = outside("init", "shop", cwd=tmp_path, WAYLINE_FEED__LIMT="3")
    assert result.code == 2
    assert "did you mean 'limit'" in result.error_line


def test_a_failure_of_wayline_itself_is_one_line_and_its_trace_on_request(
    workspace: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object, *, leaks: bool) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(wayline.Engine, "doctor", fail)
    result = here(capsys, "doctor", "-w", workspace)
    assert result.code == 1
    assert "WAYLINE_DEBUG=1" in result.error_line
    monkeypatch.setenv("WAYLINE_DEBUG", "1")
    with pytest.raises(RuntimeError, match="broken"):
        here(capsys, "doctor", "-w", workspace)


def test_no_arguments_print_the_help_and_end_with_2(capsys: Capture) -> None:
    result = here(capsys)
    assert result.code == 2
    assert "Usage" in result.out + result.err


def test_benchmarks_are_asked_for_in_a_checkout(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wayline, "__file__", str(tmp_path / "lib" / "wayline" / "__init__.py"))
    result = here(capsys, "bench", "ward")
    assert result.code == 2
    assert "checkout" in result.error_line


def test_bench_lists_what_there_is(capsys: Capture) -> None:
    assert "http_ingest" in here(capsys, "bench", "--json").json["benchmarks"]


def test_version_needs_neither_models_nor_a_server(tmp_path: Path) -> None:
    probe = (
        "import sys; from wayline.cli.app import run; run(['version']);"
        "print([m for m in ('torch', 'sklearn', 'fastapi', 'polars', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == "[]"
