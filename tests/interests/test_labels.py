"""Labels: what a person would call it."""

from __future__ import annotations

import numpy as np

from wayline.interests import Labeller

COLOURS = ["RED", "BLUE", "GREEN", "PINK", "WHITE", "BLACK"]
THINGS = [
    "TEA CUP",
    "DESK LAMP",
    "HAND BAG",
    "PICTURE FRAME",
    "ALARM CLOCK",
    "LUNCH BOX",
    "CAKE STAND",
]
TITLES = [f"{colour} {thing}" for thing in THINGS for colour in COLOURS]


def items_of(thing: str) -> list[int]:
    return [n for n, title in enumerate(TITLES) if title.endswith(thing)]


def test_the_thing_is_named_and_not_its_colour() -> None:
    labeller = Labeller(TITLES)
    for thing in THINGS:
        assert labeller.label(items_of(thing)) == thing.capitalize()


def test_a_colour_alone_is_no_name() -> None:
    red = [n for n, title in enumerate(TITLES) if title.startswith("RED")]
    assert Labeller(TITLES).label(red) != "Red"


def test_mixed_case_is_kept_and_codes_and_numbers_are_left_out() -> None:
    titles = [
        "iPhone 12 charger 20W",
        "iPhone 13 charger X200",
        "Desk lamp 5",
        "Desk lamp 6",
        "Oak table",
        "Oak chair",
    ]
    assert Labeller(titles).label([0, 1]) == "IPhone" or Labeller(titles).label([0, 1]) in {
        "Charger",
        "IPhone and charger",
    }
    assert Labeller(titles).label([2, 3]) == "Desk lamp"


def test_singular_and_plural_are_one_word() -> None:
    titles = ["Blue cake tins", "Round cake tin", "Blue chair", "Round chair", "Old chair"]
    assert Labeller(titles).label([0, 1]).casefold() in {"cake tin", "cake tins"}


def test_an_interest_of_two_kinds_is_called_by_both() -> None:
    label = Labeller(TITLES).label(
        items_of("TEA CUP")[:3] + items_of("DESK LAMP")[:3] + items_of("HAND BAG")[:1]
    )
    assert label == "Tea cup and desk lamp"


def test_important_items_decide_the_name() -> None:
    members = items_of("TEA CUP")[:2] + items_of("DESK LAMP")[:2]
    assert Labeller(TITLES).label(members, [9, 9, 1, 1]) == "Tea cup"
    assert Labeller(TITLES).label(members, [1, 1, 9, 9]) == "Desk lamp"


def test_a_single_item_is_called_by_its_title() -> None:
    assert Labeller(TITLES).label([0]) == "Red tea cup"
    long = ["One two three four five six seven eight", "x"]
    assert Labeller(long).label([0]) == "One two three four five six…"


def test_names_of_one_person_differ() -> None:
    cups = items_of("TEA CUP")
    labels = Labeller(TITLES).label_all([cups[:2], cups[2:4], cups[4:], cups[:1], cups[:1]])
    assert len({label.casefold() for label in labels}) == 5
    assert labels[0] == "Tea cup"


def test_without_titles_the_id_is_the_name() -> None:
    assert Labeller([None, ""], item_ids=["a-1", "b-2"]).label_all([[0], [1]]) == ["a-1", "b-2"]
    assert Labeller([None, None]).label([1, 0]) == "Item 1"
    assert Labeller([]).label_all([]) == []


def test_tags_are_whole_phrases() -> None:
    titles = ["Alien", "Solaris", "Amelie", "Manhattan"]
    tags = [
        ["Science fiction", "Horror"],
        ["science fiction"],
        ["Romantic comedy"],
        ["Romantic comedy"],
    ]
    labeller = Labeller(titles, tags=tags)
    assert labeller.label_all([[0, 1], [2, 3]]) == ["Science fiction", "Romantic comedy"]


def test_other_scripts_do_no_harm() -> None:
    titles = [
        "синяя чашка",
        "красная чашка",
        "синяя лампа",
        "красная лампа",
        "東京タワー",
        "東京タワー",
    ]
    labeller = Labeller(titles)
    assert labeller.label([0, 1]) == "Чашка"
    assert labeller.label([4, 5]) == "東京タワー"


def test_members_disliked_as_a_whole_still_get_a_name() -> None:
    cups = items_of("TEA CUP")
    assert Labeller(TITLES).label(cups, np.full(len(cups), -1.0)) == "Tea cup"
