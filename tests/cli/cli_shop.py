"""Files of a small shop whose columns have names of their own, and a way to run a command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from wayline.cli.app import run


@dataclass(frozen=True)
class Result:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error_line(self) -> str:
        """The one line on stderr of a command that failed."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert "Traceback" not in lines[0]
        return lines[0]


def here(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Result:
    """Run a command line in this process."""
    capsys.readouterr()
    code = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return Result(code, captured.out, captured.err)


def outside(*arguments: str | Path, cwd: Path, **environment: str) -> Result:
    """Run a command line in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "wayline", *arguments],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def write_orders(path: Path, people: int = 20) -> Path:
    """Orders of twenty people, three columns, ISO times."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    lines = ["client,sku,ordered"]
    for person in range(people):
        for step in range(8):
            item = (person + 3 * step) % 30
            when = start + timedelta(days=step, minutes=person)
            lines.append(f"c{person},p{item},{when.isoformat()}")
    path.write_text("\n".join(lines) + "\n")
    return path


def write_products(path: Path) -> Path:
    """Thirty products of three kinds."""
    kinds = ("red mug", "garden lamp", "wool scarf")
    rows = [f"p{n},{kinds[n % 3]} {n},{kinds[n % 3]}" for n in range(30)]
    path.write_text("\n".join(["sku,name,department", *rows]) + "\n")
    return path
