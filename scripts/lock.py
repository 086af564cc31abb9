"""Print requirements.lock: the exact versions, in this environment, of what ``wayline[dev]`` needs.

Local version labels (``2.13.0+cpu``) are dropped and no index, hash or marker is written, so that one file serves
every platform and every Python that the versions themselves support.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HEADER = """\
# Exact versions of everything that wayline[dev] needs. Made by `make lock`; see CONTRIBUTING.md.
"""


def needed(requirement: Requirement, seen: set[tuple[str, str]]) -> Iterator[str]:
    """Walk what a requirement brings along, itself included; each name with each extra once."""
    for extra in ("", *sorted(requirement.extras)):
        name = canonicalize_name(requirement.name)
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        yield name
        for text in distribution(name).requires or ():
            child = Requirement(text)
            if child.marker is None or child.marker.evaluate({"extra": extra}):
                yield from needed(child, seen)


def main() -> None:
    """Print the lock file."""
    names = set(needed(Requirement("wayline[dev]"), set())) - {"wayline"}
    print(HEADER, end="")
    for name in sorted(names):
        print(f"{name}=={distribution(name).version.partition('+')[0]}")


if __name__ == "__main__":
    main()
