"""Generations: what a build makes, published whole or not at all.

::

    generations/
        current              the id in use, one line, replaced by rename
        g000001/             one generation: its files, and manifest.json with their hashes; never changed
        .building-…/         not yet published; left by a crash, removed by the next build

A crash before ``current`` is replaced leaves the old generation current, after it the new one; both
are complete on disk by then.
"""

from __future__ import annotations

import builtins
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from wayline.errors import NoGenerationError, WorkspaceError
from wayline.storage.disk import full_disk_said, replace_text, sync
from wayline.storage.locks import BuildLock

MANIFEST = "manifest.json"
TEMPORARY = ".building-"


class Generations:
    """The generations of a workspace.

    Reading is for any number of processes. ``begin``, ``prune`` and ``rollback`` change the folder:
    hold ``lock()``.

    Parameters
    ----------
    root : Path
        The folder; made by the first ``begin``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._seen: tuple[tuple[int, int, int], str] | None = None

    def lock(self) -> BuildLock:
        """The lock a build holds from its first read to its publishing."""
        return BuildLock(self.root / "build.lock")

    def current(self) -> str | None:
        """The id in use, None before the first build. One ``stat`` when nothing changed: cheap
        enough for every request.
        """
        path = self.root / "current"
        try:
            status = path.stat()
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            if self._seen is None or self._seen[0] != stamp:
                self._seen = (stamp, path.read_text("utf-8").strip())
        except FileNotFoundError:
            return None
        return self._seen[1] or None

    def begin(self) -> GenerationWriter:
        """Start a generation in a temporary folder; what crashed builds left there is removed
        first.
        """
        with full_disk_said(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            for stale in self.root.glob(f"{TEMPORARY}*"):
                shutil.rmtree(stale, ignore_errors=False)
            return GenerationWriter(self, Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=self.root)))

    def list(self) -> list[str]:
        """Ids of the published generations, oldest first."""
        return sorted(path.parent.name for path in self.root.glob(f"g*/{MANIFEST}"))

    def open(self, id_: str) -> tuple[Path, dict[str, Any]]:
        """The folder and manifest of a generation.

        Raises
        ------
        NoGenerationError
            If it is not there (never built, or pruned).
        WorkspaceError
            If its manifest cannot be read.
        """
        path = self.root / id_
        try:
            manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            known = ", ".join(self.list()) or "none"
            raise NoGenerationError(
                f"There is no generation {id_!r} (kept: {known}): run `wayline build`, or choose "
                "one of those."
            ) from None
        except (ValueError, OSError) as error:
            raise WorkspaceError(
                f"The manifest of generation {id_} cannot be read ({error}): run `wayline "
                "rollback` or `wayline build`."
            ) from None
        return path, manifest

    def verify(self, id_: str) -> builtins.list[str]:
        """What differs from the manifest, one line each; empty if every file is as it was
        published.
        """
        path, manifest = self.open(id_)
        expected: dict[str, dict[str, Any]] = manifest.get("files", {})
        found = set(_files(path)) - {MANIFEST}
        out = [f"{id_}/{name} is missing" for name in sorted(set(expected) - found)]
        out += [f"{id_}/{name} was not built" for name in sorted(found - set(expected))]
        for name in sorted(found & set(expected)):
            if _hash(path / name) != expected[name]["sha256"]:
                out.append(f"{id_}/{name} changed since it was built")
        return out

    def glance(self, id_: str) -> builtins.list[str]:
        """What is plainly wrong, one line each: ``verify`` by names and sizes alone, milliseconds for any size."""
        try:
            path, manifest = self.open(id_)
        except WorkspaceError as error:
            return [error.message]
        out = []
        for name, expected in manifest.get("files", {}).items():
            try:
                size = (path / name).stat().st_size
            except OSError:
                out.append(f"{id_}/{name} is missing")
                continue
            if size != expected["bytes"]:
                out.append(f"{id_}/{name} has {size:,} bytes, expected {expected['bytes']:,}")
        return out

    def rollback(self) -> str:
        """Make the newest sound generation before the current one current, and give its id.

        Raises
        ------
        NoGenerationError
            If there is none before it.
        """
        current = self.current()
        before = [
            id_
            for id_ in self.list()
            if current is not None and id_ < current and not self.glance(id_)
        ]
        if not before:
            raise NoGenerationError(
                f"There is no sound generation before {current or 'the first build'} to go back to: run "
                "`wayline build` for a new one."
            )
        self._switch(before[-1])
        return before[-1]

    def prune(self, keep: int = 5) -> builtins.list[str]:
        """Remove all but the newest ``keep`` and the current one; gives the removed ids.

        A process that still has files of a removed one open keeps them until it lets go.
        """
        current = self.current()
        ids = self.list()
        removed = [id_ for id_ in ids[: max(len(ids) - keep, 0)] if id_ != current]
        for id_ in removed:
            # Renamed first: a crash in the middle must not leave half a generation under its name.
            trash = self.root / f"{TEMPORARY}pruned-{id_}"
            (self.root / id_).rename(trash)
            shutil.rmtree(trash)
        return removed

    def amend(self, id_: str, name: str, change: Callable[[Path], None]) -> None:
        """Replace one file of a published generation: what must not be kept (a forgotten person).

        ``change`` writes the new content to the path it is given, which holds a copy of the old.
        """
        path, manifest = self.open(id_)
        copy = path / f".{name}.new"
        with full_disk_said(self.root):
            shutil.copy2(path / name, copy)
            change(copy)
            manifest["files"][name] = {"sha256": _hash(copy), "bytes": copy.stat().st_size}
            copy.replace(path / name)
            replace_text(path / MANIFEST, json.dumps(manifest, indent=2) + "\n")
            sync(path)

    def _next_id(self) -> str:
        numbers = [int(p.name[1:]) for p in self.root.glob("g*") if p.name[1:].isdigit()]
        return f"g{max(numbers, default=0) + 1:06d}"

    def _switch(self, id_: str) -> None:
        with full_disk_said(self.root):
            replace_text(self.root / "current", id_ + "\n")


class GenerationWriter:
    """A generation being made: write files under ``path``, then ``publish``; as a context manager
    it aborts what was not published.
    """

    def __init__(self, generations: Generations, path: Path) -> None:
        self._generations = generations
        self.path = path
        self._open = True

    def publish(self, manifest: Mapping[str, Any]) -> str:
        """Hash and fsync every file, write the manifest, give the folder its id and make it
        current; gives the id.

        ``id`` and ``files`` (``{name: {"sha256", "bytes"}}``) are added to the manifest, which must
        be JSON.
        """
        root = self._generations.root
        with full_disk_said(root):
            id_ = self._generations._next_id()
            files = {}
            for name in _files(self.path):
                file = self.path / name
                files[name] = {"sha256": _hash(file), "bytes": file.stat().st_size}
                sync(file)
            text = json.dumps({**manifest, "id": id_, "files": files}, indent=2, allow_nan=False)
            replace_text(self.path / MANIFEST, text + "\n")
            for folder, _, _ in os.walk(self.path, topdown=False):
                sync(Path(folder))
            self.path.chmod(0o755)  # a temporary folder is for its owner only
            self.path.rename(root / id_)
            self._open = False
            sync(root)
        self._generations._switch(id_)
        return id_

    def abort(self) -> None:
        """Remove the temporary folder; nothing to do once published."""
        if self._open:
            self._open = False
            shutil.rmtree(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.abort()


def _files(folder: Path) -> list[str]:
    """Names of all files under a folder, relative and sorted."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_files(source: Path, target: Path, *, without: set[str]) -> None:
    """Give a new generation the files of another: the same bytes where the disk can link, else copies.

    Parameters
    ----------
    without : set of str
        Folders and files of ``source`` that are left behind.
    """
    for path in sorted(source.rglob("*")):
        place = path.relative_to(source)
        if path.name == MANIFEST or place.parts[0] in without:
            continue
        if path.is_dir():
            (target / place).mkdir(exist_ok=True)
            continue
        try:
            os.link(path, target / place)
        except OSError:  # another file system's rules
            shutil.copy2(path, target / place)
