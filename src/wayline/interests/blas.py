"""Hold BLAS to one thread while our own threads use it."""

from __future__ import annotations

import threading
from typing import Any

_lock = threading.Lock()
_inside = 0
_saved: list[int] = []
_libraries: list[Any] | None = None


class one_blas_thread:  # noqa: N801 - used as a statement: `with one_blas_thread():`
    """Run BLAS single-threaded inside the block, and as before after the last block is left.

    Our matrices are small or cut into blocks that fit a cache, where BLAS' own threads cost more
    than they bring (and stall when cores are shared). The setting is global to the process, hence
    the count of blocks.
    """

    def __enter__(self) -> None:
        global _inside, _libraries  # noqa: PLW0603 - the setting itself is global
        with _lock:
            if _inside == 0:
                if _libraries is None:
                    _libraries = _find_libraries()
                _saved[:] = [library.num_threads for library in _libraries]
                for library in _libraries:
                    library.set_num_threads(1)
            _inside += 1

    def __exit__(self, *exception: object) -> None:
        global _inside  # noqa: PLW0603 - as above
        with _lock:
            _inside -= 1
            if _inside == 0 and _libraries is not None:
                for library, threads in zip(_libraries, _saved, strict=True):
                    library.set_num_threads(threads)


def _find_libraries() -> list[Any]:
    import scipy.linalg.cython_blas  # noqa: F401 - the BLAS that compiled code calls
    from threadpoolctl import ThreadpoolController

    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    # numpy may bring another copy, which we do not call; each that is set costs a microsecond.
    scipys = [library for library in libraries if "scipy" in library.filepath]
    return scipys or list(libraries)
