"""The interest cards on a person's page, and the person's own controls of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from nicegui import ui
from nicegui.element import Element

from wayline.interests.controls import MOST_BOOST, MOST_LABEL
from wayline.studio.pieces import button, empty, fact, says, tag
from wayline.studio.views.interests import InterestCard, cards
from wayline.studio.views.words import count

if TYPE_CHECKING:
    from wayline.studio.pages.person import Board

CARDS_SHOWN, MORE_SHOWN = 8, 24  # some people have hundreds
STEP = 2.0  # of a boost


def fill(place: Element, board: Board) -> None:
    """Show the interests."""
    person = board.person
    assert person is not None
    place.clear()
    found = cards(person, board.colours, board.before.interests)
    heard = [card for card in found if not card.interest.muted]
    muted = [card for card in found if card.interest.muted]
    with place:
        if not found:
            empty("No interest stands out yet: too few of the actions are on items with a vector.")
        with tag("div", "cards"):
            for card in heard[:CARDS_SHOWN]:
                _card(card, board)
        smaller = heard[CARDS_SHOWN:]
        if smaller:
            with tag("details"):
                says("summary", count(len(smaller), "smaller interest"))
                with tag("div", "cards"):
                    for card in smaller[:MORE_SHOWN]:
                        _card(card, board)
                if len(smaller) > MORE_SHOWN:
                    says("p", f"and {len(smaller) - MORE_SHOWN:,} smaller still", "note")
        if muted:
            says("h3", "Muted")
            with tag("ul", "muted"):
                for card in muted:
                    with tag("li"):
                        says("span", card.label)
                        unmute = partial(board.do, board.visit.steer, card.interest, muted=False)
                        button("unmute", unmute, label=f"Unmute {card.label}")


def _card(card: InterestCard, board: Board) -> None:
    with tag("article", "card") as article:
        article.style(f"--own: {card.colour}")
        with tag("div", "card-head"):
            says("h3", card.label)
            if card.moved:
                says("span", card.moved, "moved")
        meter = tag("div", "meter")
        meter.style(f"--share: {min(max(card.chance, 0.0), 1.0):.4f}")
        says("p", f"spoken for by {card.medoid} · {card.last}", "note")
        with tag("dl", "facts"):
            for pair in card.facts:
                fact(*pair)
        rest = f" and {card.more} more" if card.more else ""
        says("p", " · ".join(card.members) + rest, "members")
        with tag("div", "acts", role="group", aria_label=f"Steer {card.label}"):
            _controls(card, board)


def _controls(card: InterestCard, board: Board) -> None:
    steer = partial(board.do, board.visit.steer, card.interest)
    boost = min(card.interest.boost * STEP, MOST_BOOST)
    button("boost", partial(steer, boost=boost), label=f"Boost {card.label}")
    button("mute", partial(steer, muted=True), label=f"Mute {card.label}")
    button("rename", partial(_rename, card, board), label=f"Rename {card.label}")
    if card.interest.boost != 1:
        button("as it was", partial(steer, boost=1.0), "quiet", label=f"No boost for {card.label}")


def _rename(card: InterestCard, board: Board) -> None:
    """Ask for a name."""
    with ui.dialog() as dialog, tag("form", "dialog") as form:
        says("h3", "Call this interest")
        name = ui.input(value=card.label).props(f"outlined dense autofocus maxlength={MOST_LABEL}")
        name.props["aria-label"] = "Name"
        with tag("div", "acts"):
            button("Cancel", dialog.close)
            button("Rename", lambda: None, "primary").props("type=submit")

    async def done() -> None:
        dialog.close()
        await board.do(board.visit.steer, card.interest, label=name.value)

    form.on("submit.prevent", done)
    dialog.open()
