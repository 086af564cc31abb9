"""Starts a build or a training in a process of its own, so that the server goes on answering feeds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from wayline.errors import WorkspaceError

COMMANDS = {"build": ["build"], "training": ["train"]}
ANSWER_CHARACTERS = 500


def run_to_its_end(workspace: Path, kind: str) -> None:
    """Run ``wayline build`` or ``wayline train`` on a workspace; blocks until it ends.

    It goes on where the server is stopped meanwhile. Settings are those of ``wayline.toml`` and the environment.

    Raises
    ------
    WorkspaceError
        With the last line that it said, where it failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "wayline", *COMMANDS[kind], "-w", str(workspace)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        said = lines[-1][:ANSWER_CHARACTERS] if lines else f"exit code {done.returncode}"
        raise WorkspaceError(f"The {kind} failed: {said}")
