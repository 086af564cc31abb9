"""Journeys and history on a person's page."""

from __future__ import annotations

from wayline.studio.markup import Html, act, h, nothing
from wayline.studio.pages.person_interests import controls
from wayline.studio.pages.person_state import State
from wayline.studio.views import history
from wayline.studio.views.journeys import JourneyRow, line


def journeys(state: State) -> list[Html]:
    """Write the journeys on a line of time; their buttons ask for ``journey ID VERB [VALUE]``."""
    person = state.person
    assert person is not None
    found = line(person.journeys, person.now)
    if not found.rows:
        text = "This person is on no journey: that takes a few actions on items that go together."
        return [nothing(text)]
    ends = [h("span", found.start), h("span", found.end)]
    return [
        h("div", ends, cls="axis", aria_hidden="true"),
        h("ul", [_journey(row) for row in found.rows], cls="journeys"),
    ]


def _journey(row: JourneyRow) -> Html:
    evidence = " · ".join(f"{title} ({when})" for title, when in row.evidence)
    rest = f" · and {row.more} more" if row.more else ""
    steer = controls("journey", row.journey.id, row.name, row.journey.boost)
    if row.muted:
        steer = [
            act(
                "unmute",
                "journey",
                row.journey.id,
                "unmute",
                label=f"Unmute the journey {row.name}",
            )
        ]
    return h(
        "li",
        h(
            "div",
            h("h3", row.name),
            h("span", row.stage, cls=f"badge {row.stage}"),
            h("span", "evergreen", cls="badge") if row.evergreen else None,
            h("span", "muted", cls="badge") if row.muted else None,
            h("span", row.facts, cls="note"),
            cls="journey-head",
        ),
        h(
            "div",
            h("div", cls="span", style=f"left: {row.left}%; width: {row.width}%"),
            [h("div", cls="dot", style=f"left: {dot}%") for dot in row.dots],
            cls="track",
            aria_hidden="true",
        ),
        h("p", f"{row.span}: {evidence}{rest}", cls="members"),
        h("p", "others on it are also on: " + ", ".join(row.related), cls="note")
        if row.related
        else None,
        h("div", steer, cls="acts", role="group", aria_label=f"Steer the journey {row.name}"),
        cls="journey ended" if row.stage == "ended" else "journey",
    )


def past(state: State) -> list[Html]:
    """Write what was done: the newest part that models read as it is, or all of it; ``more`` shows more."""
    person = state.person
    assert person is not None
    found = history.rows(person, state.filter)
    shown = found[: state.rows]
    out = [
        h(
            "div",
            h(
                "table",
                [line for row in shown for line in _divided(row, person.realtime)],
                cls="history",
            ),
            cls="scroll",
            tabindex="0",
            role="region",
            aria_label="Actions",
        )
    ]
    left = len(found) - len(shown)
    if left > 0:
        out.append(h("div", act(f"show more of {left:,} older ones", "more"), cls="acts"))
    return out


def _divided(row: history.HistoryRow, realtime: int) -> list[Html]:
    cells = [
        h("td", row.when, cls="note when"),
        h("td", row.action, cls="word"),
        h("td", row.title, cls="title"),
        h("td", row.where, cls="note"),
    ]
    made = h("tr", cells, cls="tried" if row.supposed else "")
    if row.number != realtime:
        return [made]
    text = "lifelong: older than the real-time sequence"
    return [h("tr", h("td", text, colspan="4", cls="note divide")), made]
