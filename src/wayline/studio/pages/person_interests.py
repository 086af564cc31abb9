"""The interest cards on a person's page, and the person's own controls of them."""

from __future__ import annotations

from functools import partial

from nicegui.element import Element

from wayline.interests.controls import MOST_BOOST
from wayline.studio.pages.person_state import State
from wayline.studio.pages.renaming import ask_name
from wayline.studio.pieces import button, empty, fact, says, tag
from wayline.studio.views.interests import InterestCard, cards
from wayline.studio.views.words import count

CARDS_SHOWN, MORE_SHOWN = 8, 24  # some people have hundreds
STEP = 2.0  # of a boost


def fill(place: Element, state: State) -> None:
    """Show the interests."""
    person = state.person
    assert person is not None
    place.clear()
    found = cards(person, state.colours, state.before.interests)
    heard = [card for card in found if not card.interest.muted]
    muted = [card for card in found if card.interest.muted]
    with place:
        if not found:
            empty("No interest stands out yet: too few of the actions are on items with a vector.")
        with tag("div", "cards"):
            for card in heard[:CARDS_SHOWN]:
                _card(card, state)
        smaller = heard[CARDS_SHOWN:]
        if smaller:
            with tag("details"):
                says("summary", count(len(smaller), "smaller interest"))
                with tag("div", "cards"):
                    for card in smaller[:MORE_SHOWN]:
                        _card(card, state)
                if len(smaller) > MORE_SHOWN:
                    says("p", f"and {len(smaller) - MORE_SHOWN:,} smaller still", "note")
        if muted:
            says("h3", "Muted")
            with tag("ul", "muted"):
                for card in muted:
                    with tag("li"):
                        says("span", card.label)
                        unmute = partial(state.do, state.visit.steer, card.interest, muted=False)
                        button("unmute", unmute, label=f"Unmute {card.label}")


def _card(card: InterestCard, state: State) -> None:
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
            _controls(card, state)


def _controls(card: InterestCard, state: State) -> None:
    steer = partial(state.do, state.visit.steer, card.interest)
    boost = min(card.interest.boost * STEP, MOST_BOOST)
    button("boost", partial(steer, boost=boost), label=f"Boost {card.label}")
    button("mute", partial(steer, muted=True), label=f"Mute {card.label}")
    button("rename", partial(ask_name, card.label, steer), label=f"Rename {card.label}")
    if card.interest.boost != 1:
        button("as it was", partial(steer, boost=1.0), "quiet", label=f"No boost for {card.label}")
