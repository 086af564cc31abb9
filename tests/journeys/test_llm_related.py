"""Related journeys by a model: checked as names are, and none where there is no usable answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from llm.asking import asking, serving
from llm.openai_stub import OpenAiStub, data_of, fails, says
from wayline.journeys.llm_related import related_journeys
from wayline.journeys.name_checks import load_blocked_terms

TERMS = load_blocked_terms()
JOURNEYS = {"Baby room": ("crib", "nursery"), "Garden party": ("lantern", "garden")}


@pytest.fixture
def stub() -> Iterator[OpenAiStub]:
    with serving() as stub:
        yield stub
        assert stub.complaints == []


def ask(stub: OpenAiStub, **options: Any) -> dict[str, list[str]]:
    with asking(stub) as client:
        return related_journeys(JOURNEYS, client, blocked_terms=TERMS, **options)


def test_each_journey_gets_its_own_related_ones_in_order(stub: OpenAiStub) -> None:
    answers = {"Baby room": ["First toys", "Baby walks"], "Garden party": ["Summer drinks"]}
    stub.script(lambda request: says({"related": answers[data_of(request)["name"]]}))
    assert ask(stub) == answers
    assert len(stub.asked) == 2


def test_what_may_not_be_said_the_journey_itself_and_doubles_are_left_out(
    stub: OpenAiStub,
) -> None:
    names = [
        "Sexy toys",
        "baby room",
        "First toys",
        "FIRST TOYS",
        "evil.example",
        "<b>x</b>",
        "玩具",
    ]
    stub.script(says({"related": names}))
    assert ask(stub)["Baby room"] == ["First toys"]


def test_no_more_are_given_than_wanted(stub: OpenAiStub) -> None:
    stub.script(says({"related": [f"{word} toys" for word in ("Red", "Blue", "Green", "Soft")]}))
    assert ask(stub, most=2)["Baby room"] == ["Red toys", "Blue toys"]


def test_what_is_far_from_the_journey_or_the_same_in_other_words_is_left_out(
    stub: OpenAiStub,
) -> None:
    stub.script(says({"related": ["First toys", "Crypto trading", "Room for a baby"]}))
    table = {"First toys": [0.6, 0.8], "Crypto trading": [0.0, 1.0], "Room for a baby": [1.0, 0.0]}

    def embed(texts: Sequence[str]) -> Any:
        return np.array([table.get(text, [1.0, 0.0]) for text in texts], np.float32)

    assert ask(stub, embed=embed)["Baby room"] == ["First toys"]


def test_a_journey_without_a_usable_answer_has_none(stub: OpenAiStub) -> None:
    stub.script(
        lambda request: (
            says({"related": ["First toys"]})
            if data_of(request)["name"] == "Baby room"
            else fails(400)
        )
    )
    assert ask(stub) == {"Baby room": ["First toys"], "Garden party": []}


def test_without_a_client_nothing_is_related() -> None:
    assert related_journeys(JOURNEYS, None, blocked_terms=TERMS) == {
        "Baby room": [],
        "Garden party": [],
    }
