"""What came of what people were told."""

from __future__ import annotations

from at_large.made import DAY, NOW
from wayline.at_large.told import told_by_journey, told_by_week
from wayline.schema import NotificationFeedback


def sent(
    n: int, days_ago: float, journey: str, *, opened: bool = False, clicked: bool = False
) -> NotificationFeedback:
    return NotificationFeedback(
        f"n{n}", n % 7, "j", NOW - int(days_ago * DAY), {}, opened, clicked, dismissed=False, journey=journey
    )  # fmt: skip


ROWS = [
    sent(1, 0, "Cake cases", opened=True),
    sent(2, 6.9, "Cake case", clicked=True),
    sent(3, 7, "Doormat"),
    sent(4, 20, "Cake cases", opened=True, clicked=True),
    sent(5, 700, "Doormat"),
    sent(6, -1, "Doormat"),
]


def test_weeks_end_now_and_who_clicked_has_opened() -> None:
    weeks = told_by_week(ROWS, NOW)
    assert [(w.sent, w.opened, w.clicked) for w in weeks] == [(2, 2, 1), (1, 0, 0), (1, 1, 1)]
    assert [NOW - w.start_ts_ms for w in weeks] == [7 * DAY - 1, 14 * DAY - 1, 21 * DAY - 1]


def test_journeys_are_told_apart_as_people_do() -> None:
    cake, mat = told_by_journey(ROWS)
    assert (cake.name, cake.sent, cake.opened, cake.clicked) == ("Cake cases", 3, 3, 2)
    assert (mat.name, mat.sent, mat.opened, mat.dismissed) == ("Doormat", 3, 0, 0)
    assert cake.example_people == [2, 4, 1], "who answered comes first"


def test_nothing_sent_is_no_error() -> None:
    assert told_by_week([], NOW) == []
    assert told_by_journey([]) == []
