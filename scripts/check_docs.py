"""Check the documentation: every relative link leads to a file, every anchor to a heading, every fence is closed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`[^`\n]*`")


def pages(root: Path = ROOT) -> list[Path]:
    """Every page that a reader may land on."""
    return sorted([*root.glob("*.md"), *(root / "docs").rglob("*.md")])


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as the usual renderers make them.

    >>> sorted(anchors("# Your own data\\n## `alpha`, and why"))
    ['alpha-and-why', 'your-own-data']
    """
    headings = re.findall(r"^#{1,6} +(.+?) *$", FENCED.sub("", text), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


def problems(page: Path) -> Iterator[str]:
    """What is wrong with a page, one line each."""
    text = page.read_text("utf-8")
    name = page.relative_to(ROOT)
    if len(re.findall(r"^```", text, re.MULTILINE)) % 2:
        yield f"{name}: a fenced block is not closed"
    for target in LINK.findall(INLINE.sub("", FENCED.sub("", text))):
        if re.match(r"[a-z]+:", target):  # another host: not asked here
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists():
            yield f"{name}: {target} leads nowhere"
        elif anchor and there.suffix == ".md" and anchor not in anchors(there.read_text("utf-8")):
            yield f"{name}: {target} names no heading"


def main() -> int:
    """Print the problems; give the exit code."""
    found = [line for page in pages() for line in problems(page)]
    print("\n".join(found) or f"{len(pages())} pages, no broken link")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
