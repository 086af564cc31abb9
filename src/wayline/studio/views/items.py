"""Items: what a search found, and one item from all sides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wayline.catalogue import ItemActions, ItemAudience
from wayline.schema import ItemFeedback, ItemMatch, ItemRecord, SimilarItem
from wayline.studio.views.words import ago, count, day, minute, share

INK = "#94a0ac"
BRAND = "#0d9488"
PICTURES = ("https://", "data:image/")
"""What the pages' Content-Security-Policy lets a browser ask for."""
LONG = 300  # characters of an attribute that are shown


@dataclass(frozen=True, slots=True)
class FoundRow:
    """One item that a search found."""

    item_id: str
    title: str
    note: str
    hidden: bool


def found_rows(matches: Sequence[ItemMatch]) -> list[FoundRow]:
    """Write what a search found, in its order."""
    return [
        FoundRow(
            one.item_id,
            one.title or one.item_id,
            " · ".join(
                filter(
                    None,
                    (
                        one.item_id if one.title else "",
                        one.category or "",
                        f"{count(one.lately, 'action')} in four weeks" if one.lately else "",
                    ),
                )
            ),
            one.hidden,
        )
        for one in matches
    ]


def found_line(query: str, found: int, most: int) -> str:
    """Say how much a search found.

    >>> found_line("lamp", 1, 50), found_line("lamp", 50, 50), found_line("lamp", 0, 50)
    ('1 item', 'the best 50 items: another word finds fewer', 'no item has all of “lamp”')
    """
    if not found:
        return f"no item has all of “{query.strip()}”"
    return (
        f"the best {found} items: another word finds fewer"
        if found >= most
        else count(found, "item")
    )


@dataclass(frozen=True, slots=True)
class ItemCard:
    """What the catalogue says of an item; ``picture`` is empty where there is none that may be shown."""

    title: str
    picture: str
    picture_note: str
    description: str
    facts: list[tuple[str, str]]
    attributes: list[tuple[str, str]]
    states: list[str]


def item_card(record: ItemRecord) -> ItemCard:
    """Say what is known of an item."""
    said = record.title or record.description or record.category or record.tags or record.image_url
    known = bool(said or record.attributes or record.created_at is not None)
    url = (record.image_url or "").strip()
    shown = url.lower().startswith(PICTURES)
    facts = [
        ("id", record.item_id),
        ("category", record.category or ""),
        ("tags", ", ".join(record.tags)),
        ("created", "" if record.created_at is None else minute(record.created_at)),
    ]
    return ItemCard(
        title=record.title or record.item_id,
        picture=url if shown else "",
        picture_note=f"Only pictures at https:// are shown, this one is at {url}"
        if url and not shown
        else "",
        description=record.description or "",
        facts=[(name, value) for name, value in facts if value],
        attributes=[(name, _text(value)) for name, value in sorted(record.attributes.items())],
        states=[
            *(["hidden: in no feed"] if record.hidden else []),
            *([] if known else ["the catalogue says nothing of it"]),
        ],
    )


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONG else text[:LONG] + " …"


def tags_line(tags: Sequence[str]) -> str:
    """Write tags as a text that somebody can change.

    >>> tags_of(tags_line(["red, bright", "mug"]))
    ['red, bright', 'mug']
    """
    return " | ".join(tags)


def tags_of(text: str) -> list[str]:
    """Read tags from such a text."""
    return [tag.strip() for tag in text.split("|") if tag.strip()]


@dataclass(frozen=True, slots=True)
class SimilarRow:
    """An item like this one; ``near`` is its cosine as a share, from 0."""

    item_id: str
    title: str
    cosine: str
    near: float


def similar_rows(similar: Sequence[SimilarItem]) -> list[SimilarRow]:
    """Write what is like an item, nearest first."""
    return [
        SimilarRow(
            one.item_id, one.title or one.item_id, f"{one.score:.2f}", min(max(one.score, 0.0), 1.0)
        )
        for one in similar
    ]


@dataclass(frozen=True, slots=True)
class AudienceView:
    """Who likes an item: a line, the interests as (label, people, importance, share), people as (id, what it is in)."""

    line: str
    interests: list[tuple[str, str, str, str]]
    people: list[tuple[str, str]]


def audience_view(audience: ItemAudience) -> AudienceView:
    """Say in whose interests an item is."""
    if not audience.people:
        return AudienceView("", [], [])
    people = "1 person" if audience.people == 1 else f"{audience.people:,} people"
    line = f"in the interests of {people}, as of the build"
    if audience.named < audience.people:
        line += f"; named are the {audience.named:,} in which it counts most"
    return AudienceView(
        line,
        [
            (i.label, f"{i.people:,}", f"{i.importance:.2f}", share(i.share))
            for i in audience.interests
        ],
        [(liker.user_id, liker.label) for liker in audience.likers],
    )


@dataclass(frozen=True, slots=True)
class Performance:
    """What is done with an item, and what comes of showing it: facts, and lines on what they are counted from."""

    facts: list[tuple[str, str]]
    notes: list[str]


def performance(
    actions: ItemActions, feedback: ItemFeedback, answered: Mapping[str, int], now_ms: int
) -> Performance:
    """Say how an item does."""
    facts = [(name, f"{number:,}") for name, number in actions.names.items()]
    if actions.last_at is not None:
        facts.append(("last", ago(actions.last_at, now_ms)))
    notes = []
    if not actions.whole:
        notes.append(f"Actions are those among the log's newest {actions.counted:,}.")
    if not feedback.requests:
        return Performance(
            facts, [*notes, "No feed was answered to anybody yet, so that nothing was shown."]
        )
    facts.append(("shown", f"{feedback.impressions:,}"))
    if feedback.impressions:
        facts += [
            (f"{name} after", f"{number:,} ({share(number / feedback.impressions)})")
            for name, number in answered.items()
        ] or [("acted on after", "0")]
    since = "" if feedback.since_ts_ms is None else f", since {day(feedback.since_ts_ms)}"
    notes.append(
        f"Shown and what came after: in the newest {count(feedback.requests, 'feed')} answered{since}."
    )
    return Performance(facts, notes)


def weeks_label(weeks: Sequence[tuple[int, int]]) -> str:
    """Say in words what the line of weeks shows."""
    if not weeks:
        return "No actions"
    most = max(number for _, number in weeks)
    return f"Actions a week from {day(weeks[0][0])} to {day(weeks[-1][0])}, at most {most:,}"


def weeks_options(weeks: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Say actions a week to ECharts; hints are text, never HTML."""
    return {
        "grid": {"left": 8, "right": 14, "top": 14, "bottom": 8, "containLabel": True},
        "tooltip": {"trigger": "axis", "renderMode": "richText", "confine": True},
        "xAxis": {
            "type": "category", "data": [day(ts_ms) for ts_ms, _ in weeks], "boundaryGap": False,
            "axisLabel": {"color": INK, "hideOverlap": True, "alignMinLabel": "left", "alignMaxLabel": "right"},
            "axisTick": {"show": False},
            "axisLine": {"lineStyle": {"color": INK}},
        },
        "yAxis": {
            "type": "value", "min": 0, "minInterval": 1, "axisLabel": {"color": INK},
            "splitLine": {"lineStyle": {"color": INK, "opacity": 0.15}},
        },
        "series": [
            {
                "type": "line", "name": "actions", "data": [number for _, number in weeks],
                "showSymbol": len(weeks) == 1, "lineStyle": {"color": BRAND, "width": 2},
                "itemStyle": {"color": BRAND}, "areaStyle": {"color": BRAND, "opacity": 0.12},
            }
        ],
    }  # fmt: skip
