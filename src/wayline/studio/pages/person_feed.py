"""The feed on a person's page, with the workspace's actions at each item."""

from __future__ import annotations

from wayline.schema import NOT_INTERESTED
from wayline.studio.markup import Html, act, h, nothing
from wayline.studio.pages.person_state import State
from wayline.studio.views.feed import FeedRow, rows

BUTTONS = 3  # more actions go into a menu


def feed(state: State) -> list[Html]:
    """Write the feed; its buttons ask for ``act ITEM ACTION`` and ``why``."""
    person = state.person
    assert person is not None
    assert person.feed is not None
    found = rows(person.feed, person.interests, state.colours, state.before.feed)
    failed = ", ".join(person.feed.degraded)
    return [
        *([h("p", f"Some stages failed: {failed}", cls="trouble")] if failed else []),
        h("div", act("Why this feed?", "why"), cls="row"),
        *(
            []
            if found
            else [
                nothing("There is nothing to show: is there any item that this person has not had?")
            ]
        ),
        h(
            "ol",
            [_item(row, person.choices, person.images.get(row.item_id)) for row in found],
            cls="feed",
        ),
    ]


def _item(row: FeedRow, choices: list[str], image: str | None) -> Html:
    return h(
        "li",
        picture(image) if image else None,
        h(
            "div",
            h(
                "div",
                h("span", str(row.place), cls="place"),
                h("span", row.title, cls="title"),
                h("span", row.moved, cls="moved") if row.moved else None,
                cls="feed-head",
            ),
            h("ul", [h("li", reason) for reason in row.reasons], cls="reasons"),
            h("div", [h("span", f"{name} {value}") for name, value in row.scores], cls="scores"),
            h(
                "div",
                _buttons(row, choices),
                cls="acts",
                role="group",
                aria_label=f"Act on {row.title}",
            ),
            cls="feed-body",
        ),
        cls="feed-item",
        style=f"--own: {row.colour}",
    )


def picture(url: str) -> Html:
    """An item's picture in a box of its own size; its title stands beside it."""
    return h(
        "img", cls="thumb", src=url, alt="", loading="lazy", referrerpolicy="no-referrer",
        width="64", height="64",
    )  # fmt: skip


def _buttons(row: FeedRow, choices: list[str]) -> list[Html]:
    named = [name for name in choices if name != NOT_INTERESTED]
    out = [
        act(
            name,
            "act",
            row.item_id,
            name,
            cls="" if at else "primary",
            label=f"{name}: {row.title}",
        )
        for at, name in enumerate(named[:BUTTONS])
    ]
    if len(named) > BUTTONS:
        more = [act(n, "act", row.item_id, n, label=f"{n}: {row.title}") for n in named[BUTTONS:]]
        summary = h("summary", "more", cls="act", aria_label=f"More actions on {row.title}")
        out.append(h("details", summary, h("div", more, cls="menu"), cls="more"))
    away = act(
        "not for me", "act", row.item_id, NOT_INTERESTED, cls="quiet",
        label=f"Not interested in {row.title}",
    )  # fmt: skip
    return [*out, away]
