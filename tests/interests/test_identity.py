"""Ids: what stays the same, splits, merges and starts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wayline.interests import match_ids

members = st.sets(st.sampled_from("abcdefghij"), min_size=1, max_size=6)


def test_an_unchanged_interest_keeps_its_id() -> None:
    old = [("one", {"a", "b"}), ("two", {"c", "d"})]
    assert match_ids("u", old, [("c", {"c", "d"}), ("a", {"a", "b"})]) == ["two", "one"]


def test_an_interest_that_grows_keeps_its_id() -> None:
    assert match_ids("u", [("one", {"a"})], [("b", {"a", "b", "c", "d"})]) == ["one"]


def test_the_larger_part_of_a_split_keeps_the_id() -> None:
    small, large = match_ids("u", [("one", set("abcde"))], [("a", set("ab")), ("c", set("cde"))])
    assert large == "one"
    assert small != "one"


def test_the_larger_of_two_that_merge_gives_its_id() -> None:
    old = [("few", {"a"}), ("many", {"b", "c", "d"})]
    assert match_ids("u", old, [("b", set("abcd"))]) == ["many"]


def test_an_interest_that_shares_little_is_another_one() -> None:
    fresh = match_ids("u", [("one", set("abcdef"))], [("x", set("axyz"))])
    assert fresh != ["one"]


def test_fresh_ids_depend_on_person_and_medoid_only() -> None:
    assert match_ids("u", [], [("a", {"a"})]) == match_ids("u", [("z", {"q"})], [("a", {"a", "b"})])
    assert match_ids("u", [], [("a", {"a"})]) != match_ids("v", [], [("a", {"a"})])


def test_an_id_that_ended_is_not_given_to_another_interest() -> None:
    (gone,) = match_ids("u", [], [("a", {"a"})])
    (fresh,) = match_ids("u", [(gone, set("bcdef"))], [("a", {"a"})])
    assert fresh != gone


@given(st.lists(members, max_size=6), st.lists(members, max_size=6))
def test_ids_are_unique_and_the_same_again(before: list[set[str]], after: list[set[str]]) -> None:
    old_new = [(min(m), m) for m in before]
    old = list(zip(match_ids("u", [], old_new), before, strict=True))
    new = [(max(m), m) for m in after]
    ids = match_ids("u", old, new)
    assert len(set(ids)) == len(new)
    assert ids == match_ids("u", old, [(medoid, sorted(m)) for medoid, m in new])
    again = match_ids("u", list(zip(ids, after, strict=True)), new)
    shared = [frozenset(m) for m in after]
    if len(set(shared)) == len(shared):
        assert again == ids
