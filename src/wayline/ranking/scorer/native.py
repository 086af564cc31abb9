"""Compile our C++ kernels with this machine's compiler, once, and load them.

A wheel cannot know which instructions a machine has, and the kernels are worth most where they use
the widest ones. So they are compiled where they run (``-march=native``, some seconds), kept in the
user's cache folder under a key of source, compiler and processor, and loaded by ctypes. Everything
that may be missing (a compiler, a writable folder, a library that loads) leads to ``None``: callers
then take their torch path, and one line in the log says why.

``WAYLINE_NATIVE=0`` switches compiled kernels off; ``CXX`` names the compiler;
``WAYLINE_CACHE_DIR`` moves the folder (default ``$XDG_CACHE_HOME/wayline`` or ``~/.cache/wayline``).
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
import threading
from functools import cache
from pathlib import Path

log = logging.getLogger(__name__)

FOLDER = Path(__file__).parent  # where the sources are
COMPILERS = ("c++", "g++", "clang++")
# -ffast-math is not among them: the exponential relies on rounding, and NaN has to stay NaN.
FLAGS = (
    "-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno",
    "-fno-trapping-math", "-fno-exceptions", "-fno-rtti", "-shared", "-fPIC",
)  # fmt: skip
TIMEOUT_S = 300
_SUFFIX = ".dylib" if platform.system() == "Darwin" else ".so"

_lock = threading.Lock()
_loaded: dict[tuple[str, Path], ctypes.CDLL | None] = {}


def available() -> bool:
    """Whether compiled kernels may be tried: not switched off, and there is a compiler.

    It does not compile; whether a kernel really loads is what :func:`load` answers.
    """
    return enabled() and find_compiler() is not None


def enabled() -> bool:
    """False if ``WAYLINE_NATIVE`` is ``0``, ``off``, ``no`` or ``false``."""
    return os.environ.get("WAYLINE_NATIVE", "1").strip().lower() not in ("0", "off", "no", "false")


def load(source: str, *, folder: Path = FOLDER) -> ctypes.CDLL | None:
    """Give the library made of ``folder/source``, compiled now if no cache has it.

    The first call of a process for a source decides; later ones are a look-up. Processes may
    compile at the same time: each writes its own file and the last rename wins.

    Parameters
    ----------
    source : str
        A C++ file; all ``*.hpp`` beside it count as part of it.
    folder : Path
        Where it is.

    Returns
    -------
    ctypes.CDLL or None
        None if kernels are switched off or cannot be had here; the log says why.
    """
    if not enabled():
        return None
    key = (source, folder)
    with _lock:
        if key not in _loaded:
            _loaded[key] = _build_and_open(folder / source)
        return _loaded[key]


def forget_loaded() -> None:
    """Decide anew at the next :func:`load` (for tests)."""
    with _lock:
        _loaded.clear()
    find_compiler.cache_clear()
    _version.cache_clear()


@cache
def find_compiler() -> tuple[str, ...] | None:
    """The compiler as a command: ``CXX`` if set, else the first of c++, g++, clang++."""
    named = os.environ.get("CXX", "").strip()
    if named:
        command = tuple(shlex.split(named))
        return command if shutil.which(command[0]) else None
    found = next((path for name in COMPILERS if (path := shutil.which(name))), None)
    return (found,) if found else None


def _build_and_open(source: Path) -> ctypes.CDLL | None:
    compiler = find_compiler()
    if compiler is None:
        reason = "no C++ compiler was found (install g++ or clang, or set CXX)"
    else:
        try:
            target = cache_folder() / f"{source.stem}-{_key(source, compiler)}{_SUFFIX}"
            if not _is_whole(target):
                _compile(source, target, compiler)
            return ctypes.CDLL(str(target))
        except subprocess.CalledProcessError as error:
            said = (error.stderr or "").strip().splitlines() or ["no message"]
            first = next((line for line in said if "error" in line), said[0])
            reason = f"{compiler[0]} failed: {first}"
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = str(error).replace("\n", " ")
    log.warning(
        "No compiled kernel for %s: %s. Scoring takes the slower torch path.", source.name, reason
    )
    return None


def cache_folder() -> Path:
    """A folder that only this user can write to; a fresh temporary one if there is none.

    Raises
    ------
    OSError
        If not even a temporary folder can be made.
    """
    named = os.environ.get("WAYLINE_CACHE_DIR", "")
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        root = (
            Path(named) if named else (Path(base) if base else Path.home() / ".cache") / "wayline"
        )
        folder = root / "native"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_ours(folder) and os.access(folder, os.W_OK | os.X_OK):
            return folder
    except (OSError, RuntimeError):  # read-only, or no home directory can be told
        pass  # a temporary folder does as well, for this process
    return _temporary_folder()


@cache
def _temporary_folder() -> Path:
    """A private folder of this process, for machines whose cache folder cannot be used."""
    import atexit

    folder = Path(tempfile.mkdtemp(prefix="wayline-native-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _is_ours(folder: Path) -> bool:
    """Code is loaded from there: nobody else may own the folder or write into it."""
    if not hasattr(os, "getuid"):
        return True
    found = folder.stat()
    return found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _key(source: Path, compiler: tuple[str, ...]) -> str:
    """What the library depends on: sources, flags, compiler and processor."""
    digest = hashlib.sha256()
    for file in (source, *sorted(source.parent.glob("*.hpp"))):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    digest.update("\0".join((*compiler, _version(compiler), *FLAGS, _processor())).encode())
    return digest.hexdigest()[:24]


@cache
def _version(compiler: tuple[str, ...]) -> str:
    said = subprocess.run(
        [*compiler, "--version"], capture_output=True, text=True, check=True, timeout=TIMEOUT_S
    )
    return said.stdout


@cache
def _processor() -> str:
    """Name and instruction sets: a home folder may be shared by machines of several kinds."""
    words = [platform.system(), platform.machine(), platform.processor()]
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return " ".join(words)
    for start in ("model name", "flags", "Features"):
        words += [line for line in lines if line.startswith(start)][:1]
    return " ".join(words)


def _compile(source: Path, target: Path, compiler: tuple[str, ...]) -> None:
    """Write ``target`` and its checksum, whole or not at all."""
    with tempfile.TemporaryDirectory(prefix=".build-", dir=target.parent) as folder:
        made = Path(folder) / target.name
        subprocess.run(
            [*compiler, *FLAGS, "-o", str(made), str(source)],
            capture_output=True, text=True, check=True, timeout=TIMEOUT_S,
        )  # fmt: skip
        checksum = made.with_name("checksum")
        checksum.write_text(hashlib.sha256(made.read_bytes()).hexdigest(), "ascii")
        os.replace(made, target)
        os.replace(checksum, _checksum_of(target))


def _checksum_of(target: Path) -> Path:
    return target.with_suffix(".sha256")


def _is_whole(target: Path) -> bool:
    """Whether a library is there and its bytes are those that were compiled.

    Opening a file that a full disk cut short kills the process instead of raising.
    """
    try:
        expected = _checksum_of(target).read_text("ascii")
        return hashlib.sha256(target.read_bytes()).hexdigest() == expected
    except (OSError, UnicodeDecodeError):
        return False
