"""``cache_child.py FILE NAME NUMBER`` keeps answers and prints the key of each when it is kept."""

from __future__ import annotations

import sys
from pathlib import Path

from wayline.llm import AnswerCache


def main() -> int:
    with AnswerCache(Path(sys.argv[1])) as cache:
        for number in range(int(sys.argv[3])):
            cache.put(f"{sys.argv[2]}{number}", "x" * 200)
            print(f"{sys.argv[2]}{number}", flush=True)
        return 1 if cache.notes else 0


if __name__ == "__main__":
    sys.exit(main())
