"""Quiet hours follow the clock on the person's wall, whatever that clock does."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayline.errors import ConfigError
from wayline.notifications.quiet import QuietHours, default_zone, zone_named

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
KOLKATA, KATHMANDU, LORD_HOWE = (
    ZoneInfo(n) for n in ("Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe")
)


def quiet(text: str) -> QuietHours:
    found = QuietHours.parse(text)
    assert found is not None
    return found


def ms(text: str, zone: ZoneInfo | None = None, fold: int = 0) -> int:
    moment = datetime.fromisoformat(text)
    if zone is not None:
        moment = moment.replace(tzinfo=zone, fold=fold)
    return round(moment.timestamp() * 1000)


@pytest.mark.parametrize(
    ("wall", "held"),
    [("20:59", False), ("21:00", True), ("23:59", True), ("00:00", True), ("07:59", True),
     ("08:00", False), ("12:00", False)],
)  # fmt: skip
def test_a_night_holds_over_midnight(wall: str, held: bool) -> None:
    night = quiet("21:00-08:00")
    for zone in (BERLIN, NEW_YORK, KOLKATA, KATHMANDU, LORD_HOWE):
        assert night.hold(ms(f"2024-05-02T{wall}", zone), zone) is held


def test_quiet_hours_of_a_day_do_not_hold_at_night() -> None:
    nap = quiet("13:00-14:30")
    assert nap.hold(ms("2024-05-02T14:29", BERLIN), BERLIN)
    assert not nap.hold(ms("2024-05-02T14:30", BERLIN), BERLIN)
    assert not nap.hold(ms("2024-05-02T02:00", BERLIN), BERLIN)


def test_the_same_moment_is_quiet_in_one_zone_and_not_in_another() -> None:
    night, moment = quiet("21:00-08:00"), ms("2024-05-02T02:15+00:00")
    assert night.hold(moment, BERLIN)  # 04:15
    assert night.hold(moment, KOLKATA)  # 07:45
    assert not night.hold(moment, KATHMANDU)  # 08:00


@pytest.mark.parametrize(
    ("hours", "zone", "now", "end"),
    [
        # the ordinary night
        ("21:00-08:00", BERLIN, "2024-05-02T22:00+02:00", "2024-05-03T08:00+02:00"),
        ("21:00-08:00", BERLIN, "2024-05-03T07:59:59+02:00", "2024-05-03T08:00+02:00"),
        # the clock is put forward at 02:00 to 03:00: 02:30 does not exist
        ("21:00-02:30", BERLIN, "2024-03-31T01:30+01:00", "2024-03-31T03:30+02:00"),
        ("21:00-08:00", BERLIN, "2024-03-30T22:00+01:00", "2024-03-31T08:00+02:00"),
        # it is put back at 03:00 to 02:00: 02:30 comes twice, and before it comes again it is quiet again
        ("21:00-02:30", BERLIN, "2024-10-27T02:10+02:00", "2024-10-27T02:30+02:00"),
        ("21:00-02:30", BERLIN, "2024-10-27T02:10+01:00", "2024-10-27T02:30+01:00"),
        ("21:00-08:00", BERLIN, "2024-10-26T22:00+02:00", "2024-10-27T08:00+01:00"),
        # half-hour and quarter-hour zones, and one whose summer time is half an hour
        ("21:00-08:00", KOLKATA, "2024-05-02T15:30+00:00", "2024-05-03T02:30+00:00"),
        ("21:00-08:00", KATHMANDU, "2024-05-02T15:30+00:00", "2024-05-03T02:15+00:00"),
        ("21:00-08:00", LORD_HOWE, "2024-04-06T12:00+00:00", "2024-04-06T21:30+00:00"),
    ],
)
def test_quiet_hours_end_when_the_wall_says_so(
    hours: str, zone: ZoneInfo, now: str, end: str
) -> None:
    night = quiet(hours)
    assert night.hold(ms(now), zone)
    assert night.end_after(ms(now), zone) == ms(end)


@given(
    st.integers(0, 24 * 60 - 1),
    st.integers(0, 24 * 60 - 1),
    st.integers(1_500_000_000_000, 1_800_000_000_000),
    st.sampled_from([BERLIN, NEW_YORK, KOLKATA, KATHMANDU, LORD_HOWE]),
)
def test_the_end_is_later_and_not_quiet(start: int, end: int, now: int, zone: ZoneInfo) -> None:
    if start == end:
        return
    night = quiet(f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}")
    found = night.end_after(now, zone)
    assert now < found <= now + 2 * 86_400_000
    assert not night.hold(found, zone)


@pytest.mark.parametrize(
    "text", ["21-8", "21:00", "25:00-08:00", "21:00-21:00", "night", "21:00-08:60"]
)
def test_what_are_no_quiet_hours_is_one_line_with_the_cure(text: str) -> None:
    with pytest.raises(ConfigError, match="'21:00-08:00'"):
        QuietHours.parse(text)


def test_no_quiet_hours_are_none() -> None:
    assert QuietHours.parse("") is None


@pytest.mark.parametrize(
    "name",
    ["Mars/Base", "", "../../etc/passwd", "/etc/passwd", "Europe", "x" * 5000, "\ud800", "a\0b"],
)
def test_a_name_that_is_no_zone_is_none(name: str) -> None:
    assert zone_named(name) is None
    with pytest.raises(ConfigError, match="IANA"):
        default_zone(name)
