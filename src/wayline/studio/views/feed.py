"""The feed as its reader would see it, with why, and what a click changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wayline.schema import Feed, FeedItem, Interest
from wayline.studio.views.colours import Colours

REASONS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class FeedRow:
    """One item of a feed; ``bar`` is its score as a share of the best, ``moved`` what the last click did to it."""

    place: int
    item_id: str
    title: str
    reasons: list[str]
    scores: list[tuple[str, str]]
    bar: float
    colour: str
    interest: str
    moved: str


def rows(
    feed: Feed,
    interests: Sequence[Interest],
    colours: Colours,
    before: Sequence[str] | None = None,
) -> list[FeedRow]:
    """Give a row for each item, best first.

    Parameters
    ----------
    before : sequence of str, optional
        The items of the feed before the last click.
    """
    labels = {interest.id: interest.label for interest in interests}
    scores = [item.score for item in feed.items]
    best, least = max(scores, default=0.0), min([*scores, 0.0])
    out = []
    for place, item in enumerate(feed.items, start=1):
        interest = next((r.interest for r in item.reasons if r.interest in labels), None)
        out.append(
            FeedRow(
                place=place,
                item_id=item.item_id,
                title=item.title or item.item_id,
                reasons=_reasons(item),
                scores=_scores(item),
                bar=round((item.score - least) / (best - least), 3) if best > least else 0.0,
                colour=colours.of(interest),
                interest=labels.get(interest or "", ""),
                moved=_moved(item.item_id, place, before),
            )
        )
    return out


def _reasons(item: FeedItem) -> list[str]:
    return list(dict.fromkeys(reason.text for reason in item.reasons))[:REASONS_SHOWN]


def _scores(item: FeedItem) -> list[tuple[str, str]]:
    chances = sorted(item.probabilities.items(), key=lambda pair: -pair[1])
    return [("score", f"{item.score:.3f}"), *((name, f"{p:.1%}") for name, p in chances)]


def _moved(item_id: str, place: int, before: Sequence[str] | None) -> str:
    if before is None:
        return ""
    if item_id not in before:
        return "new"
    steps = list(before).index(item_id) + 1 - place
    return f"▲ {steps}" if steps > 0 else f"▼ {-steps}" if steps < 0 else ""
