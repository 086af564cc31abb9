"""The interest cards on a person's page, and the person's own controls of them."""

from __future__ import annotations

from wayline.interests.controls import MOST_BOOST
from wayline.studio.markup import Html, act, facts, h, nothing
from wayline.studio.pages.person_state import State
from wayline.studio.views.interests import InterestCard, cards
from wayline.studio.views.words import count

CARDS_SHOWN, MORE_SHOWN = 8, 24  # some people have hundreds
STEP = 2.0  # of a boost


def interests(state: State) -> list[Html]:
    """Write the cards; their buttons ask for ``interest ID VERB [VALUE]``."""
    person = state.person
    assert person is not None
    found = cards(person, state.colours, state.before.interests)
    heard = [card for card in found if not card.interest.muted]
    muted = [card for card in found if card.interest.muted]
    out = [h("div", [_card(card) for card in heard[:CARDS_SHOWN]], cls="cards")]
    if not found:
        text = "No interest stands out yet: too few of the actions are on items with a vector."
        out = [nothing(text)]
    smaller = heard[CARDS_SHOWN:]
    if smaller:
        still = len(smaller) - MORE_SHOWN
        out.append(
            h(
                "details",
                h("summary", count(len(smaller), "smaller interest")),
                h("div", [_card(card) for card in smaller[:MORE_SHOWN]], cls="cards"),
                h("p", f"and {still:,} smaller still", cls="note") if still > 0 else None,
            )
        )
    if muted:
        out += [h("h3", "Muted"), h("ul", [_muted(card) for card in muted], cls="muted")]
    return out


def _muted(card: InterestCard) -> Html:
    unmute = act("unmute", "interest", card.interest.id, "unmute", label=f"Unmute {card.label}")
    return h("li", h("span", card.label), unmute)


def _card(card: InterestCard) -> Html:
    rest = f" and {card.more} more" if card.more else ""
    return h(
        "article",
        h(
            "div",
            h("h3", card.label),
            h("span", card.moved, cls="moved") if card.moved else None,
            cls="card-head",
        ),
        h("div", cls="meter", style=f"--share: {min(max(card.chance, 0.0), 1.0):.4f}"),
        h("p", f"spoken for by {card.medoid} · {card.last}", cls="note"),
        facts(card.facts),
        h("p", " · ".join(card.members) + rest, cls="members"),
        h("div", _controls(card), cls="acts", role="group", aria_label=f"Steer {card.label}"),
        cls="card",
        style=f"--own: {card.colour}",
    )


def _controls(card: InterestCard) -> list[Html]:
    return controls("interest", card.interest.id, card.label, card.interest.boost)


def controls(subject: str, id_: str, label: str, boost: float) -> list[Html]:
    """Write the buttons that steer an interest or a journey."""
    called = label if subject == "interest" else f"the {subject} {label}"
    more = f"{min(boost * STEP, MOST_BOOST):g}"
    out = [
        act("boost", subject, id_, "boost", more, label=f"Boost {called}"),
        act("mute", subject, id_, "mute", label=f"Mute {called}"),
        act("rename", subject, id_, "rename", label=f"Rename {called}"),
    ]
    if boost != 1:
        back = f"No boost for {called}"
        out.append(act("as it was", subject, id_, "boost", "1", cls="quiet", label=back))
    return out
