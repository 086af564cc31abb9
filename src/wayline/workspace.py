"""A workspace as a folder: making one, and copying one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wayline.config import template
from wayline.errors import WorkspaceError, shorten
from wayline.storage.disk import full_disk_said

SETTINGS = "wayline.toml"


def create_workspace(folder: Path) -> Path:
    """Make an empty workspace: a commented ``wayline.toml`` and ``data/``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data").mkdir(exist_ok=True)
        if not (folder / SETTINGS).exists():
            (folder / SETTINGS).write_text(template(), "utf-8")
    except OSError as error:
        raise WorkspaceError(
            f"A workspace cannot be made at {str(folder)!r} ({error.strerror}): choose another place."
        ) from None
    return folder


def refuse_taken(folder: Path, verb: str) -> None:
    """Raise unless a folder is free to be written to."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise WorkspaceError(f"{str(folder)!r} is not an empty folder: {verb} to a new place.")


def refuse_inside(folder: Path, workspace: Path) -> None:
    """Raise for a folder in the workspace: a copy there would copy itself, and be lost with what it is a copy of."""
    if folder.resolve().is_relative_to(workspace.resolve()):
        raise WorkspaceError(
            f"{str(folder)!r} lies in the workspace itself: back up to a place outside of it."
        )


@contextmanager
def copying(folder: Path) -> Iterator[None]:
    """Say in one line what a copy of files met."""
    try:
        with full_disk_said(folder):
            yield
    except OSError as error:  # shutil.Error too, which lists every file
        why = error.strerror or shorten(str(error), 120)
        raise WorkspaceError(
            f"Copying to {str(folder)!r} failed ({why}): mend that and choose a new place."
        ) from None
