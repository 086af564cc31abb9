"""The recipe as a form, what a draft changes, and two feeds side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wayline.recipes import Dial
from wayline.recipes.edits import FLOORS, QUOTAS, UTILITY, WEIGHTS
from wayline.retrieval.recipe import REGIMES
from wayline.schema import Feed, RecipeVersion
from wayline.studio.draft import Change
from wayline.studio.views.signals import signal_words
from wayline.studio.views.why import SOURCES
from wayline.studio.views.words import ago

REGIME_WORDS = {
    "visit": "in the middle of a visit",
    "return": "coming back",
    "cold": "nothing known",
}
SINGLE_WORDS = {
    "feed.diversity": ("Diversity", "0: by score alone … 1: strong"),
    "feed.max_per_interest": ("Most of one interest", "in ten places in a row; 0: no bound"),
    "feed.max_per_category": ("Most of one category", "in ten places in a row; 0: no bound"),
    "feed.fatigue": ("Patience", "so many times looked past halve an item's odds; 0: for ever"),
    "interests.sample": ("Interests tried", "so many does each feed look around"),
}


@dataclass(frozen=True, slots=True)
class Knob:
    """One setting in the form.

    ``value`` None: unbounded, or what an action is worth. ``origin`` says who gave it its value, ``before`` what it
    would be without edits.
    """

    name: str
    label: str
    hint: str
    value: float | None
    before: str
    origin: str
    edited: bool
    least: float
    most: float
    step: float


@dataclass(frozen=True, slots=True)
class Form:
    """All settings in the order in which the page has them; ``unused``: signals that weigh nothing, by regime."""

    shape: list[Knob]
    weights: dict[str, list[Knob]]
    unused: dict[str, dict[str, str]]
    quotas: list[Knob]
    floors: list[Knob]
    utility: list[Knob]


def form(dials: Sequence[Dial], opened: frozenset[str] = frozenset()) -> Form:
    """Sort dials into a form.

    Parameters
    ----------
    dials : sequence of Dial
    opened : frozenset of str
        Signals that weigh nothing yet, but were asked for.
    """
    of = {
        family: [d for d in dials if d.name.startswith(family)]
        for family in (WEIGHTS, QUOTAS, FLOORS, UTILITY)
    }
    weights: dict[str, list[Knob]] = {regime: [] for regime in REGIMES}
    unused: dict[str, dict[str, str]] = {regime: {} for regime in REGIMES}
    for dial in of[WEIGHTS]:
        regime, _, signal = dial.name.removeprefix(WEIGHTS).partition(".")
        if dial.value or dial.before or dial.origin == "edited" or dial.name in opened:
            weights[regime].append(_knob(dial, signal_words(signal), signal, 0.05))
        else:
            unused[regime][dial.name] = signal_words(signal)
    return Form(
        shape=[
            _knob(d, *SINGLE_WORDS[d.name], 1.0 if d.allowed.whole else 0.05)
            for d in dials
            if d.name in SINGLE_WORDS
        ],
        weights=weights,
        unused=unused,
        quotas=[
            _knob(d, source, SOURCES.get(source, ""), 10.0)
            for d in of[QUOTAS]
            for source in [d.name.removeprefix(QUOTAS)]
        ],
        floors=[
            _knob(d, called(d.name), SOURCES.get(source, ""), 1.0)
            for d in of[FLOORS]
            for source in [d.name.removeprefix(FLOORS)]
        ],
        utility=[
            _knob(
                d, f"P({d.name.removeprefix(UTILITY)})", "weight of what the ranker foretells", 0.1
            )
            for d in of[UTILITY]
        ],
    )


def _knob(dial: Dial, label: str, hint: str, step: float) -> Knob:
    return Knob(
        dial.name,
        label,
        hint,
        dial.value,
        number(dial.before),
        dial.origin,
        dial.origin == "edited",
        dial.allowed.least,
        dial.allowed.most,
        step,
    )


def number(value: float | None) -> str:
    """Write a setting's value; None is one that nobody set."""
    return "–" if value is None else f"{value:g}" if abs(value) >= 1 else f"{round(value, 4):g}"


def changed(changes: Sequence[Change], unedited: Mapping[str, float | None]) -> list[str]:
    """Say what a draft changes, a line each.

    Parameters
    ----------
    changes : sequence of Change
    unedited : {setting: value}
        What each is where nobody edits it; None: no bound.

    >>> changed([Change("feed.diversity", None, 0.9), Change("retrieval.most.fresh", 5, None)], {"feed.diversity": 0.1})
    ['Diversity: 0.1 → 0.9', 'most from fresh: 5 → no bound']
    """

    def said(name: str, value: float | None) -> str:
        value = unedited.get(name) if value is None else value
        return "no bound" if value is None else number(value)

    return [
        f"{called(c.name)}: {said(c.name, c.before)} → {said(c.name, c.after)}" for c in changes
    ]


def called(name: str) -> str:
    """Give what people call a setting.

    >>> called("feed.diversity"), called("recipe.visit.trending.7d"), called("retrieval.most.fresh")
    ('Diversity', 'in the middle of a visit, wanted by many in 7 days', 'most from fresh')
    """
    if name in SINGLE_WORDS:
        return SINGLE_WORDS[name][0]
    if name.startswith(WEIGHTS):
        regime, _, signal = name.removeprefix(WEIGHTS).partition(".")
        return f"{REGIME_WORDS.get(regime, regime)}, {signal_words(signal)}"
    if name.startswith(QUOTAS):
        return f"most from {name.removeprefix(QUOTAS)}"
    if name.startswith(FLOORS):
        return f"at least from {name.removeprefix(FLOORS)}"
    return f"weight of P({name.removeprefix(UTILITY)})"


@dataclass(frozen=True, slots=True)
class Beside:
    """One place of two feeds; ``moved`` says where the right one stood in the left."""

    left: str
    right: str
    moved: str
    gone: bool


def beside(left: Feed, right: Feed) -> list[Beside]:
    """Put two feeds side by side; ``gone``: the left item is not in the right feed."""
    was = {item.item_id: place for place, item in enumerate(left.items)}
    stays = {item.item_id for item in right.items}
    rows = []
    for place in range(max(len(left.items), len(right.items))):
        old = left.items[place] if place < len(left.items) else None
        new = right.items[place] if place < len(right.items) else None
        rows.append(
            Beside(
                (old.title or old.item_id) if old else "",
                (new.title or new.item_id) if new else "",
                "" if new is None else moved(was.get(new.item_id), place),
                old is not None and old.item_id not in stays,
            )
        )
    return rows


def moved(was: int | None, now: int) -> str:
    """Say how a place changed.

    >>> moved(None, 3), moved(5, 3), moved(3, 3), moved(0, 3)
    ('new', '▲ 2', '', '▼ 3')
    """
    if was is None:
        return "new"
    steps = was - now
    return f"▲ {steps}" if steps > 0 else f"▼ {-steps}" if steps < 0 else ""


def summed(left: Feed, right: Feed) -> str:
    """Say in a line how two feeds differ."""
    was = {item.item_id for item in left.items}
    fresh = sum(item.item_id not in was for item in right.items)
    if [i.item_id for i in left.items] == [i.item_id for i in right.items]:
        return "the same feed"
    return f"{fresh} of {len(right.items)} new" if fresh else "the same items in another order"


def ranked(shares: Mapping[str, float]) -> str:
    """Say what a ranker has of the order.

    >>> ranked({"visit": 0.45, "return": 0.15})
    'A trained ranker has 45% of the order in the middle of a visit, 15% coming back; the weights have the rest.'
    """
    some = [
        f"{share:.0%} of the order {REGIME_WORDS.get(k, k)}" for k, share in shares.items() if share
    ]
    if not some:
        return ""
    said = ", ".join([some[0], *(one.replace(" of the order", "") for one in some[1:])])
    return f"A trained ranker has {said}; the weights have the rest."


def saved(version: RecipeVersion, now_ms: int) -> str:
    """Say which version is in use."""
    if not version.version:
        return "As the build and the settings have it; nothing was changed yet."
    by = f" by {version.author}" if version.author else ""
    return f"Version {version.version}, saved {ago(version.created_at, now_ms)}{by}: {version.note}"
