"""Signals and settings of the recipe as people read them."""

from __future__ import annotations

from wayline.retrieval.signals import (
    CONTENT_SIGNALS,
    NEW_SIGNALS,
    TABLE_SIGNALS,
    TRENDING_SIGNALS,
    Kernel,
)

GROUPS = {
    "related": "wanted together with",
    "next": "comes next after",
    "soon": "comes soon after",
    "again": "goes with what they came back to:",
    "content": "like",
}
OTHERS = {
    "ranker": "the ranker",
    "feedback": "what came of showing such things",
}


def signal_words(name: str) -> str:
    """Say what a signal looks at; a name that is none says itself.

    >>> [signal_words(name) for name in ("content.last_5", "trending.7d", "new.7d", "ranker")]
    ['like the newest 5', 'wanted by many in 7 days', 'new in 7 days', 'the ranker']
    """
    if name in OTHERS:
        return OTHERS[name]
    if name in TRENDING_SIGNALS:
        days = TRENDING_SIGNALS[name]
        span = f"{days:g} days" if days >= 2 else f"{days * 24:g} hours"
        return f"wanted by many in {span}"
    if name in NEW_SIGNALS:
        return f"new in {NEW_SIGNALS[name]:g} days"
    group, _, which = name.partition(".")
    kernel = CONTENT_SIGNALS.get(name) or TABLE_SIGNALS.get(group, {}).get(which)
    if kernel is None:
        return name
    again = " as they came back to it" if kernel.latest and group != "again" else ""
    return f"{GROUPS[group]} {_history(kernel)}{again}"


def _history(kernel: Kernel) -> str:
    if kernel.kind == "all":
        return "everything before"
    if kernel.kind == "days":
        return f"those of {kernel.size:g} days" if kernel.size >= 1 else "those of this visit"
    if kernel.size == 1:
        return "the newest"
    return f"the newest {kernel.size:g}"
