"""wayline: interests, feeds and journeys from an action log.

>>> import wayline
>>> wayline.__version__.count(".")
2
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

try:
    __version__ = version("wayline")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0.0.0"

if TYPE_CHECKING:
    from wayline.engine import Engine, open

__all__ = ["Engine", "__version__", "open"]


def __getattr__(name: str) -> Any:
    # Loaded on first use, so that `import wayline` (and `wayline version`) stay instant.
    if name in ("open", "Engine"):
        from wayline import engine

        return getattr(engine, name)
    raise AttributeError(f"module 'wayline' has no attribute {name!r}")
