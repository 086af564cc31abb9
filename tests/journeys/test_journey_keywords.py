"""Which words become keywords: what belongs together does, colours and one person's searches do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from planted_journeys import (
    TEXTS,
    TOPICS,
    around,
    catalogue,
    encode,
    keywords_of,
    topics_world,
    usable,
)
from wayline.journeys.keywords import (
    BOARD,
    CATEGORY,
    KINDS,
    NO_COMMON_WORDS,
    NO_TEXT,
    QUERY,
    TAG,
    Keywords,
    Said,
    find_keywords,
)
from wayline.journeys.name_checks import NameChecks

EACH = 12
GROUPS = [i // EACH for i in range(EACH * len(TOPICS))]
COLOURS = ("red", "blue", "green", "white")


def said(*rows: tuple[int, int, str], kind: int = QUERY) -> Said:
    users, items, texts = zip(*rows, strict=True)
    return Said(list(texts), [kind] * len(rows), np.array(users), np.array(items))


def test_what_belongs_together_is_a_keyword_and_a_colour_is_none() -> None:
    titles = [f"{COLOURS[i % 4]} {TOPICS[g]}" for i, g in enumerate(GROUPS)]
    found = keywords_of(catalogue(titles), GROUPS)
    assert set(TOPICS) <= set(found.texts)
    assert not {text for text in found.texts if set(text.split()) & set(COLOURS)}
    assert found.notes == []


def test_categories_and_tags_are_keywords_as_they_are_written() -> None:
    tags = [[f"theme {g % 5}"] for g in GROUPS]
    categories = [f"Home > {TOPICS[g].title()}" for g in GROUPS]
    found = keywords_of(catalogue([None] * len(GROUPS), categories=categories, tags=tags), GROUPS)
    kinds = dict(zip(found.texts, found.kinds.tolist(), strict=True))
    assert {kinds[topic.title()] for topic in TOPICS} == {CATEGORY}
    assert kinds["theme 1"] == TAG
    assert "Home" not in kinds  # everything is: it says nothing


def test_a_search_of_one_person_is_not_known_to_others() -> None:
    log = said((0, 3, "present for aunt Edith"), (1, 5, "Garden party"), (2, 6, "garden parties"))
    found = topics_world(said=log)
    assert found.find("garden party") is not None
    assert found.kinds[found.find("garden party")] == QUERY
    assert not [text for text in found.texts if "edith" in text.casefold()]
    twice = said((0, 3, "present for aunt Edith"), (0, 4, "present for aunt Edith"))
    assert topics_world(said=twice).find("present for aunt edith") is None


def test_boards_are_keywords_when_two_people_have_them() -> None:
    found = topics_world(said=said((0, 3, "Baby room"), (1, 5, "baby room"), kind=BOARD))
    assert KINDS[found.kinds[found.find("baby room")]] == "board"


def test_a_blocked_term_is_never_a_keyword() -> None:
    blocked = NameChecks(["lamp", "secret"]).blocked
    log = said((0, 3, "my secret"), (1, 5, "my secret"))
    found = topics_world(said=log, blocked=blocked)
    assert len(found)
    assert not [text for text in found.texts if blocked(text)]
    everything = topics_world(blocked=lambda _text: True)
    assert len(everything) == 0
    assert everything.item_places.shape[0] == len(GROUPS)


def test_a_keyword_of_the_build_before_stays_while_its_items_hang_together_at_all() -> None:
    before = topics_world()
    anew, kept = (set(topics_world(near=0.3, before=b).texts) for b in (None, before))
    assert anew < kept < set(TOPICS)  # some fell apart
    assert not topics_world(near=0.0, before=before).texts
    again = topics_world(before=before)
    assert (again.texts, again.item_keyword.tolist()) == (
        before.texts,
        before.item_keyword.tolist(),
    )


@pytest.mark.parametrize(
    ("titles", "note"),
    [
        ([None] * 40, NO_TEXT),
        ([""] * 40, NO_TEXT),
        (["lamp"] * 40, NO_COMMON_WORDS),
        ([f"thing{n:c}" for n in range(97, 122)], NO_COMMON_WORDS),
        (["🎄"] * 5, NO_TEXT),
        (["Lamp"], NO_COMMON_WORDS),
        ([None], NO_TEXT),
    ],
)
def test_a_catalogue_that_says_nothing_has_no_keywords_and_says_why(
    titles: list[str | None], note: str
) -> None:
    found = keywords_of(catalogue(titles, descriptions=[""] * len(titles)), [0] * len(titles))
    assert (len(found), found.notes) == (0, [note])
    assert found.item_places.shape[0] == len(titles)
    assert found.find("lamp") is None
    assert found.read("lamp") == []


def test_a_catalogue_without_items_is_read() -> None:
    found = find_keywords(
        pl.DataFrame(schema=TEXTS), np.zeros((0, 8), np.float32), np.zeros(0, bool), encode
    )
    assert len(found) == 0


def test_without_titles_categories_say_it_even_without_vectors() -> None:
    texts = catalogue([None] * len(GROUPS), categories=[TOPICS[g] for g in GROUPS])
    x = np.zeros((len(GROUPS), 8), np.float32)
    found = find_keywords(texts, x, np.zeros(len(GROUPS), bool), encode)
    assert set(found.texts) == set(TOPICS)
    near = found.item_places[0] @ found.item_places.T
    assert near[1] > 0.9
    assert near[EACH] < 0.5


def test_places_are_unit_vectors_and_weights_sum_to_one() -> None:
    found = topics_world()
    for rows in (found.places, found.item_places):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    for item in range(len(GROUPS)):
        own = slice(found.item_offsets[item], found.item_offsets[item + 1])
        assert found.item_weight[own].sum() == pytest.approx(1)


def test_items_without_a_vector_or_text_have_no_place() -> None:
    texts = catalogue([*(TOPICS[g] for g in GROUPS), None])
    x = np.concatenate([around(GROUPS), np.zeros((1, 32), np.float32)])
    found = find_keywords(texts, x, np.append(usable(x)[:-1], False), encode)
    assert not found.item_places[-1].any()


def test_a_text_is_read_as_itself_or_as_the_longest_phrases_in_it() -> None:
    found = topics_world(said=said((0, 3, "lamp"), (1, 5, "lamp")))
    names = [found.texts[k] for k in found.read("a Garden LAMP, or tea cups?")]
    assert names == ["garden lamp", "tea cup"]
    assert [found.texts[k] for k in found.read("lamps")] == ["lamp"]


def test_the_same_catalogue_gives_the_same_keywords_whatever_the_order() -> None:
    rows = np.random.default_rng(1).permutation(len(GROUPS))
    titles = [f"{COLOURS[i % 4]} {TOPICS[g]}" for i, g in enumerate(GROUPS)]
    x = around(GROUPS)
    one = find_keywords(catalogue(titles), x, usable(x), encode)
    other = find_keywords(catalogue([titles[i] for i in rows]), x[rows], usable(x), encode)
    assert one.texts == other.texts
    np.testing.assert_allclose(one.specificity, other.specificity, rtol=1e-4)


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    found = topics_world(said=said((0, 3, "lamp"), (1, 5, "lamp")))
    found.save(tmp_path / "keywords")
    again = Keywords.load(tmp_path / "keywords")
    assert (again.texts, again.keys, again.notes) == (found.texts, found.keys, found.notes)
    for name in (
        "kinds",
        "frequency",
        "specificity",
        "places",
        "item_offsets",
        "item_keyword",
        "item_places",
    ):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert again.find("Garden lamps") == found.find("garden lamp")


def test_a_shouting_catalogue_is_written_quietly() -> None:
    found = keywords_of(catalogue([TOPICS[g].upper() for g in GROUPS]), GROUPS)
    assert found.shouting
    assert set(found.texts) == set(TOPICS)
