"""Names: what says most, unique for a person, stable, short, one line, nothing that may not be said."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planted_journeys import (
    DAY,
    START,
    TOPICS,
    around,
    before_of,
    catalogue,
    encode,
    find,
    keywords_of,
    plainly,
    topics_world,
    usable,
)
from wayline.journeys.everybody import Task
from wayline.journeys.evidence import Words
from wayline.journeys.finder import Before, FinderRules
from wayline.journeys.keywords import QUERY, Keywords, find_keywords
from wayline.journeys.name_checks import NameChecks
from wayline.journeys.names import (
    KEPT,
    SAME,
    Ranked,
    choose_name,
    name_key,
    write_name,
)
from wayline.journeys.ranking import JourneyRanker

EACH = 12
KEYWORDS = topics_world()


def ranked(*scored: tuple[str, float]) -> Ranked:
    return Ranked(
        np.array([KEYWORDS.texts.index(text) for text, _ in scored], np.int64),
        np.array([score for _, score in scored]),
    )


def chosen(
    rank: Ranked,
    taken: Sequence[str] = (),
    before: str | None = None,
    fallbacks: Sequence[str] = ("Blue thing",),
    overlap: float = 1.0,
    stands: bool = False,
) -> str:
    keys = {name_key(name) for name in taken}
    return choose_name(
        KEYWORDS,
        rank,
        keys,
        before=before,
        overlap=overlap,
        stands=lambda: stands,
        fallbacks=lambda: fallbacks,
    )


BOTH = ranked(("garden lamp", 2.0), ("tea cup", 1.5))


def test_the_best_keyword_is_the_name_unless_another_journey_has_it() -> None:
    assert chosen(BOTH) == "Garden lamp"
    assert chosen(BOTH, taken=["garden lamps"]) == "Tea cup"
    assert chosen(BOTH, taken=["Lamp garden"]) == "Tea cup"


def test_a_name_is_kept_unless_another_is_clearly_better() -> None:
    assert chosen(BOTH, before="Tea cup") == "Tea cup"
    clear = ranked(("garden lamp", 2.0), ("tea cup", 2.0 - KEPT - 0.1))
    assert chosen(clear, before="Tea cup") == "Garden lamp"
    some = ranked(("garden lamp", 2.0), ("tea cup", 2.0 - KEPT / 2))
    assert chosen(some, before="Tea cup", overlap=0.6) == "Tea cup"
    assert chosen(some, before="Tea cup", overlap=0.4) == "Garden lamp"


def test_a_name_that_is_no_keyword_now_is_kept_while_its_words_stand_and_its_items_are_the_same() -> (
    None
):
    assert chosen(BOTH, before="Picnic", stands=True) == "Picnic"
    assert chosen(BOTH, before="Picnic", stands=True, overlap=SAME - 0.1) == "Garden lamp"
    assert chosen(BOTH, before="Picnic", stands=False) == "Garden lamp"
    assert chosen(BOTH, before="Picnic", stands=True, taken=["Picnic"]) == "Garden lamp"


def test_without_a_free_keyword_two_are_joined_then_a_title_then_a_number() -> None:
    every = ["Garden lamp", "Tea cup"]
    assert chosen(BOTH, taken=every) == "Garden lamp and tea cup"
    joined = [*every, "Garden lamp and tea cup"]
    assert chosen(BOTH, taken=joined) == "Blue thing"
    assert chosen(BOTH, taken=[*joined, "Blue thing"]) == "Blue thing (2)"
    assert chosen(BOTH, taken=[*joined, "Blue thing", "Blue thing (2)"]) == "Blue thing (3)"
    assert chosen(ranked(), fallbacks=()) == "Journey"
    assert chosen(ranked(), taken=["Journey"], fallbacks=()) == "Journey (2)"
    long = "x" * 40
    assert chosen(ranked(), taken=[long], fallbacks=(long,)) == "x" * 36 + " (2)"


def test_a_name_of_the_last_resort_is_kept_too() -> None:
    assert (
        chosen(ranked(), before="Red thing", fallbacks=("Blue thing", "Red thing")) == "Red thing"
    )
    assert chosen(ranked(), before="Blue thing (2)") == "Blue thing (2)"
    assert chosen(ranked(), before="Gone") == "Blue thing"


def test_a_keyword_is_written_on_one_line_without_markup() -> None:
    assert write_name("tea\n\tcup\u202e <b>") == "Tea cup b"
    assert write_name("ärmel") == "Ärmel"
    assert write_name("\u200b") == ""


def test_a_name_says_what_the_journey_is_about() -> None:
    names = {one.name for one in find(KEYWORDS, [0, 1, 2, 13, 14, 15, 16])}
    assert names == {"Garden lamp", "Baking tin"}


def test_the_own_search_names_a_journey() -> None:
    from wayline.journeys.keywords import Said

    log = Said(["lamps for summer"] * 2, [QUERY] * 2, np.array([0, 1]), np.array([1, 2]))
    world = topics_world(said=log)
    words = Words(["Lamps for Summer"], [QUERY], [START + DAY])
    (one,) = find(world, [0, 1, 2, 3], words=words)
    assert one.name == "Lamps for summer"
    assert [world.texts[k] for k in one.said] == ["lamps for summer"]
    (other,) = find(world, [0, 1, 2, 3])
    assert other.said == []


def test_a_larger_newcomer_takes_no_name_from_another_journey() -> None:
    """Two journeys of one topic: the one that has the name keeps it, however large the other grows."""
    groups = [0] * 6 + [1] * 6 + [2 + i % 20 for i in range(100)]
    titles = ["tea cup"] * 12 + [f"other{i:c}" for i in range(1000, 1100)]
    x = around(groups)
    world = find_keywords(catalogue(titles), x, usable(x), encode)
    small = find(world, [0, 1, 2])
    assert [one.name for one in small] == ["Tea cup"]
    called = [f"Thing {n}" for n in range(112)]
    rules = FinderRules(cut=0.5)
    small = find(world, [0, 1, 2], rules=rules)
    grown = find(
        world,
        [0, 1, 2, *range(6, 12), *range(6, 12)],
        rules=rules,
        before=before_of(world, small),
        titles=called,
    )
    names = {one.id: one.name for one in grown}
    assert len(names) == 2
    assert names[small[0].id] == "Tea cup"
    again = find(
        world,
        [0, 1, 2, *range(6, 12), *range(6, 12)],
        rules=rules,
        before=before_of(world, grown),
        titles=called,
    )
    assert plainly(again) == plainly(grown)


def task(titles: Sequence[str | None], ids: Sequence[str], **options: object) -> Task:
    return Task(KEYWORDS, FinderRules(), JourneyRanker(), titles, ids, 0, **options)  # type: ignore[arg-type]


def test_fallbacks_are_titles_then_ids_and_nothing_blocked_or_empty() -> None:
    blocked = NameChecks(["sexy"]).blocked
    titles = ["Red mug", None, "<br>", "Sexy thing", "Sexy thing"]
    ids = ["a", "b", "c", "d", "sexy-1"]
    assert task(titles, ids, blocked=blocked).calls([0, 1, 2, 3, 4]) == [
        "Red mug",
        "b",
        "c",
        "d",
        "",
    ]
    assert task(titles, ids).calls([3]) == ["Sexy thing"]


def test_without_texts_a_journey_is_called_after_an_item() -> None:
    x = around([0] * 5 + [1] * 5)
    world = find_keywords(catalogue([None] * 10), x, usable(x), encode)
    names = [
        one.name for one in find(world, [0, 1, 2, 5, 6, 7], titles=[f"SKU-{n}" for n in range(10)])
    ]
    assert sorted(names) == ["SKU-2", "SKU-7"]
    hostile = [
        "<img src=x onerror=alert(1)>" if n % 2 else "<b>\u202eטקסט</b>\n🎄" * 9 for n in range(10)
    ]
    for one in find(world, [0, 1, 2, 5, 6, 7], titles=hostile):
        assert one.name.isprintable()
        assert 0 < len(one.name) <= 40
        assert "<" not in one.name


WORDS = st.sampled_from(
    ["lamp", "tea", "cup", "Red", "set", "クリスマス", "زهرة", "סבתא", "🎄", "<b>x</b>", "&lt;i&gt;", "a" * 45, "12A",
     "of", "https://x.example", "Größe", "\u202e", "\n"]
)  # fmt: skip
TITLES = st.lists(st.lists(WORDS, max_size=4).map(" ".join), min_size=24, max_size=24)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(TITLES, st.integers(0, 1000), st.lists(st.integers(0, 23), min_size=2, max_size=40))
def test_names_are_unique_short_plain_and_the_same_again(
    titles: list[str], seed: int, items: list[int]
) -> None:
    world = _world(titles, seed)
    words = Words([titles[items[0]], "tea cup"], [QUERY] * 2, [START, START + DAY])
    found = find(world, items, words=words, titles=titles, rules=FinderRules(cut=0.6))
    names = [one.name for one in found]
    assert len({name_key(name) for name in names}) == len(names)
    assert len({one.id for one in found}) == len(names)
    for name in names:
        assert 0 < len(name) <= 40
        assert name.isprintable()
        assert name == name.strip()
        assert not set("<>") & set(name)
    again = find(
        world,
        items,
        words=words,
        titles=titles,
        rules=FinderRules(cut=0.6),
        before=before_of(world, found),
    )
    assert plainly(again) == plainly(found)
    for more in ([3, 3, 3], [5, 6, 7]):  # and still unique when more is done
        grown = find(world, [*items, *more], titles=titles, before=before_of(world, found))
        assert len({name_key(one.name) for one in grown}) == len(grown)


def _world(titles: list[str], seed: int) -> Keywords:
    rng = np.random.default_rng(seed)
    groups = rng.integers(6, size=len(titles)).tolist()
    categories = [f"{TOPICS[g]} <b>{g}</b>" if g % 2 else None for g in groups]
    return keywords_of(catalogue(titles, categories=categories), groups)


def test_an_item_id_is_no_name_once_there_are_titles() -> None:
    (found,) = find(KEYWORDS, [0, 1, 2])
    before = [Before(found.id, "SKU-0", found.item_idx)]
    titles = [f"garden lamp {n}" for n in range(3)]
    assert find(KEYWORDS, [0, 1, 2], before=before, titles=titles)[0].name == "Garden lamp"
    before = [Before(found.id, "Lamp", found.item_idx)]
    assert find(KEYWORDS, [0, 1, 2], before=before, titles=titles)[0].name == "Lamp"


def test_a_name_that_may_not_be_said_any_more_is_given_up() -> None:
    (found,) = find(KEYWORDS, [0, 1, 2])
    before = [Before(found.id, "Lamp", found.item_idx)]
    titles = [f"garden lamp {n}" for n in range(3)]
    blocked = NameChecks(["lamp"]).blocked
    (again,) = find(KEYWORDS, [0, 1, 2], before=before, titles=titles, blocked=blocked)
    assert (again.id, again.name) == (
        found.id,
        "Garden lamp",
    )  # the keywords of a build are checked by the build
    (kept,) = find(KEYWORDS, [0, 1, 2], before=before, titles=titles)
    assert kept.name == "Lamp"


def test_before_with_a_name_that_two_had_is_told_apart() -> None:
    """Written by hand or by an older version: names are unique all the same."""
    found = find(KEYWORDS, [0, 1, 2, 13, 14, 15])
    doubled = [Before(one.id, "Garden lamp", one.item_idx) for one in found]
    names = [one.name for one in find(KEYWORDS, [0, 1, 2, 13, 14, 15], before=doubled)]
    assert len(set(names)) == 2


@pytest.mark.parametrize("count", [1, 2])
def test_too_little_is_no_journey(count: int) -> None:
    assert find(KEYWORDS, [0, 1, 2][:count]) == []
    assert find(KEYWORDS, [0] * 5) == []  # one item alone
    assert find(KEYWORDS, []) == []
    assert len(find(KEYWORDS, [0, 1, 0])) == 1
