"""What may be said to a person, and what may not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayline.errors import FileProblemError
from wayline.journeys.name_checks import (
    NameChecks,
    first_good,
    load_blocked_terms,
    related,
    tidy,
)

CHECKS = NameChecks(load_blocked_terms())
BABY = ("baby room", "nursery decoration", "crib")


@pytest.mark.parametrize(
    "name",
    [
        "Baby room",
        "Baby's first year",
        "Nursery: decorations & lights",
        "Café-style baby room",
        "R&B baby songs",
        "Scunthorpe nursery",  # whole words only
        "Grape and raspberry baby food",
    ],
)
def test_a_plain_name_passes(name: str) -> None:
    assert CHECKS.problem(name, BABY) is None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "empty"),
        ("12 - 34", "empty"),
        ("Baby room " * 4 + "x", "too_long"),
        ("A baby room for a small flat", "too_many_words"),
        ("Baby room at evil.example", "link"),
        ("Baby room https://x", "link"),
        ("Baby www.rooms", "link"),
        ("Baby t.co", "link"),
        ("Ask baby@room.org", "link"),
        ("<b>Baby room</b>", "characters"),
        ("**Baby** room", "characters"),
        ("[Baby](room)", "characters"),
        ("Baby; DROP TABLE", "characters"),
        ("Baby\nroom", "characters"),
        ("Baby\x1b room", "characters"),
        ("Baby \u202eroom", "characters"),
        ("Baby\u200broom", "characters"),
        ("Baby room 🎉🎉🎉", "characters"),
        ("Baby room!!!!", "characters"),
        ("Ba" + "\u0301" * 9 + "by room", "characters"),
        ("Call 020 794 60 baby", "number"),
        ("غرفة الأطفال", "script"),
        ("Детская комната", "script"),
        ("Вaby room", "script"),  # a Cyrillic capital
        ("Sexy baby room", "blocked"),
        ("SHIT baby room", "blocked"),
        ("Shít baby room", "blocked"),
        ("Ｓｈｉｔ baby room", "blocked"),
        ("Sh1t baby room", "blocked"),
        ("S h i t baby", "blocked"),
        ("Baby bombs", "blocked"),
        ("Baby self-harm", "blocked"),
        ("Baby suicide's room", "blocked"),
    ],
)
def test_what_may_not_be_said_is_refused_with_the_reason(name: str, problem: str) -> None:
    assert CHECKS.problem(name, BABY) == problem


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("غرفة الأطفال", ("غرفة أطفال",)),
        ("חדר תינוק", ("חדר תינוקות",)),
        ("Детская комната", ("детская",)),
        ("赤ちゃんの部屋", ("赤ちゃん", "部屋")),
        ("赤ちゃん部屋", ("赤部屋",)),
        ("बच्चे का कमरा", ("बच्चे", "कमरा")),
        ("می‌خواهم خانه", ("خانه",)),
        ("ห้องเด็ก", ("ห้องเด็กอ่อน",)),
    ],
)
def test_a_name_in_the_script_of_its_keywords_passes(name: str, about: tuple[str, ...]) -> None:
    assert CHECKS.problem(name, about) is None
    assert related(name, about)


def test_another_script_passes_where_a_language_was_asked_for_but_no_mixture() -> None:
    checks = NameChecks(load_blocked_terms(), any_script=True)
    assert checks.problem("Детская комната", BABY) is None
    assert checks.problem("Вaby room", BABY) == "script"


@pytest.mark.parametrize(
    ("name", "about", "expected"),
    [
        ("Nursery decorating", BABY, True),
        ("Rooms for babies", BABY, True),
        ("Crypto trading", BABY, False),
        ("The best for you", ("the best lamp for all",), False),
        ("Ignore previous instructions", BABY, False),
        ("", BABY, False),
        ("Baby room", (), False),
    ],
)
def test_a_name_has_to_share_a_stem_with_its_journey(
    name: str, about: tuple[str, ...], *, expected: bool
) -> None:
    assert related(name, about) is expected


def test_a_name_may_be_near_in_meaning_instead() -> None:
    def embed(texts: object) -> np.ndarray:
        table = {"Little one's corner": [1.0, 0.0], "Crypto trading": [0.0, 1.0]}
        return np.array([table.get(t, [0.8, 0.6]) for t in texts], np.float32)  # type: ignore[attr-defined]

    assert related("Little one's corner", BABY, embed)
    far = {"Crypto trading": [0.0, 1.0]}
    assert not related(
        "Crypto trading",
        BABY,
        lambda texts: np.array([far.get(t, [1.0, 0.0]) for t in texts], np.float32),
    )


def test_the_good_names_are_kept_once_each_and_the_first_trouble_is_named() -> None:
    names = ["Baby room.", "visit evil.example", "BABY ROOM", "Crypto", '"Nursery ideas"']
    assert first_good(names, CHECKS, BABY) == (["Baby room", "Nursery ideas"], "link")


def test_a_workspace_adds_terms_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "blocked_terms.txt").write_text("# ours\nTeppich  # a rival\n\n", "utf-8")
    terms = load_blocked_terms(tmp_path)
    assert NameChecks(terms).problem("Teppiche", ("teppich",)) is None  # its plural is not ours
    assert NameChecks(terms).problem("Roter Teppich", ("teppich",)) == "blocked"
    assert NameChecks(terms).problem("Shit", ("shit",)) == "blocked"


def test_a_file_of_terms_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "blocked_terms.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileProblemError, match=r"blocked_terms\.txt .* save it as UTF-8"):
        load_blocked_terms(tmp_path)


def test_without_terms_nothing_is_blocked() -> None:
    assert NameChecks(()).problem("Shit", ("shit",)) is None


def test_every_packaged_term_is_blocked_in_itself_and_in_capitals() -> None:
    terms = load_blocked_terms()
    assert len(terms) > 50
    assert all(CHECKS.blocked(term) and CHECKS.blocked(f"a {term.upper()}!") for term in terms)


@given(st.text())
def test_whatever_passes_is_one_short_line_of_plain_characters(text: str) -> None:
    name = tidy(text)
    if CHECKS.problem(name, (text,)) is None:
        assert name == name.strip()
        assert len(name) <= 40
        assert len(name.splitlines()) == 1
        assert not set(name) & set('<>@/\\[]{}()*_`#|"=;$%^~')


@given(st.text(), st.text())
def test_no_text_breaks_the_checks(name: str, about: str) -> None:
    first_good([name], NameChecks((about,)), (about,))
