"""Who holds an item: looked up over everybody's interests."""

from __future__ import annotations

import polars as pl

from wayline.interests.table import SCHEMA, InterestTable


def test_an_item_is_found_in_everybodys_interests_what_it_adds_most_first() -> None:
    rows = [
        # person, id, medoid, importance, last, members, what each adds
        (1, "a", 5, 3.0, 9, [5, 6], [1.0, 2.0]),
        (1, "b", 7, 1.0, 9, [7], [1.0]),
        (3, "c", 6, 4.0, 9, [6, 7, 5], [4.5, 0.5, -1.0]),  # sent item 5 back
    ]
    table = InterestTable(pl.DataFrame(rows, SCHEMA, orient="row"))
    found = table.holding(6 - 1)
    assert found.user_key.tolist() == [3, 1]
    assert found.weight.tolist() == [4.5, 2.0]
    assert found.importance.tolist() == [4.0, 3.0]
    assert found.share.tolist() == [1.0, 0.75]
    members, weights, medoid_idx = table.members_of(int(found.row[1]))
    assert (members.tolist(), weights.tolist(), medoid_idx) == ([4, 5], [1.0, 2.0], 4)
    assert table.holding(5 - 1).user_key.tolist() == [1]
    assert len(table.holding(99)) == 0


def test_a_build_without_interests_has_nobody() -> None:
    assert len(InterestTable(pl.DataFrame(schema=SCHEMA)).holding(0)) == 0
