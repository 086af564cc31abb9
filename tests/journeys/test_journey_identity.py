"""Journeys go on: what splits or merges, grows, is disliked away, comes back."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planted_journeys import DAY, START, TOPICS, before_of, find, plainly, topics_world
from wayline.journeys.evidence import Words
from wayline.journeys.finder import FinderRules, at_time
from wayline.journeys.keywords import QUERY, Said

KEYWORDS = topics_world()
LAMPS, TINS, SCARFS = range(12), range(12, 24), range(24, 36)


def ids_by_name(items: list[int], **options: object) -> dict[str, str]:
    return {one.name: one.id for one in find(KEYWORDS, items, **options)}  # type: ignore[arg-type]


def test_a_journey_that_grows_keeps_id_and_name() -> None:
    first = find(KEYWORDS, [*LAMPS[:3], *TINS[:4]])
    grown = find(KEYWORDS, [*LAMPS[:9], *TINS[:5], *SCARFS[:4]], before=before_of(KEYWORDS, first))
    kept = {one.id: one.name for one in grown}
    assert all(kept[one.id] == one.name for one in first)
    assert len(grown) == 3


def test_when_two_merge_the_larger_gives_its_id_and_when_one_splits_the_larger_part_keeps_it() -> (
    None
):
    apart = find(KEYWORDS, [*LAMPS[:3], *TINS[:5]])
    wide = FinderRules(cut=1.5)
    (merged,) = find(
        KEYWORDS, [*LAMPS[:3], *TINS[:5]], before=before_of(KEYWORDS, apart), rules=wide
    )
    tins = next(one for one in apart if one.name == "Baking tin")
    assert (merged.id, merged.name) == (tins.id, tins.name)
    split = find(
        KEYWORDS,
        [*LAMPS[:3], *TINS[:5]],
        before=before_of(KEYWORDS, [merged]),
        rules=FinderRules(cut=0.5),
    )
    by_size = sorted(split, key=lambda one: -len(one.item_idx))
    assert [one.id == merged.id for one in by_size] == [True, False]
    assert len({one.name for one in split}) == 2


def test_ids_are_the_same_on_every_machine_and_differ_between_journeys() -> None:
    one, other = ids_by_name([*LAMPS[:3], *TINS[:4]]), ids_by_name([*LAMPS[:3], *TINS[:4]])
    assert one == other
    assert len(set(one.values())) == 2
    assert all(len(id_) == 8 for id_ in one.values())


def test_a_disliked_journey_is_gone_and_comes_back_as_itself() -> None:
    items = [*LAMPS[:3], *TINS[:3]]
    first = find(KEYWORDS, items)
    again = [*items, *LAMPS[:3]]
    (left,) = find(KEYWORDS, again, worth=[1.0] * 6 + [-1.0] * 3, before=before_of(KEYWORDS, first))
    assert left.name == "Baking tin"
    back = find(
        KEYWORDS,
        [*again, *LAMPS[:3]],
        worth=[1.0] * 6 + [-1.0] * 3 + [1.0] * 3,
        before=before_of(KEYWORDS, first),
    )
    assert {(one.id, one.name) for one in back} == {(one.id, one.name) for one in first}


def test_without_stickiness_the_past_gives_names_and_ids_alone() -> None:
    first = find(KEYWORDS, [*LAMPS[:3], *TINS[:4]])
    loose = find(KEYWORDS, [*LAMPS[:3]], before=before_of(KEYWORDS, first), sticky=False)
    assert [(one.id, one.name) for one in loose] == [
        (o.id, o.name) for o in first if o.name == "Garden lamp"
    ]


def test_a_journey_at_another_time_is_what_it_would_be_found_then() -> None:
    items = [*LAMPS[:3], *TINS[:4]]
    now = find(KEYWORDS, items)
    later = find(KEYWORDS, items, now_days=100)
    moved = [at_time(one, START + 100 * DAY, FinderRules()) for one in now]
    assert [(one.stage, one.faded, one.importance, one.confidence) for one in moved] == [
        (one.stage, one.faded, one.importance, one.confidence) for one in later
    ]
    assert {one.stage.stage for one in moved} == {"ended"}


SAID = Said(
    [f"{topic} ideas" for topic in TOPICS] * 2, [QUERY] * 20, np.repeat([0, 1], 10),
    np.array([12 * n for n in range(10)] * 2),
)  # fmt: skip
WITH_SEARCHES = topics_world(
    said=SAID,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.integers(0, 119), min_size=3, max_size=60),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60)), max_size=6),
    st.lists(st.integers(0, 119), max_size=10),
)
def test_asked_again_with_nothing_new_everything_is_the_same(
    items: list[int], searches: list[tuple[int, int]], more: list[int]
) -> None:
    words = Words(
        [f"{TOPICS[n]} ideas" for n, _ in searches],
        [QUERY] * len(searches),
        [START + d * DAY for _, d in searches],
    )
    known = find(WITH_SEARCHES, items, words=words)
    for own in (items, items + more):
        found = find(WITH_SEARCHES, own, words=words, before=before_of(WITH_SEARCHES, known))
        again = find(WITH_SEARCHES, own, words=words, before=before_of(WITH_SEARCHES, found))
        assert plainly(again) == plainly(found)
        assert [one.said for one in again] == [one.said for one in found]
        known = found


@given(
    st.lists(st.integers(0, 119), min_size=3, max_size=40, unique=True),
    st.randoms(use_true_random=False),
)
def test_the_order_of_actions_at_one_time_does_not_matter(items: list[int], random: object) -> None:
    other = [*items]
    random.shuffle(other)  # type: ignore[attr-defined]
    days = [1.0] * len(items)
    assert plainly(find(KEYWORDS, items, days=days)) == plainly(find(KEYWORDS, other, days=days))
