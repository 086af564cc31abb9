"""Phrases of texts in many languages, with markup, links and codes in them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayline.journeys.names import write_name
from wayline.journeys.phrases import parts_of, phrases_of, plain, runs_of, whole_key


def keys(text: str) -> set[tuple[str, ...]]:
    return set(phrases_of(runs_of(plain(text), 16)))


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("Große Weihnachtskugeln aus Glas", ("große weihnachtskugeln", "grosse weihnachtskugeln")),
        ("Boîte à thé en métal", ("métal", "MÉTAL")),
        ("クリスマス飾り セット", ("クリスマス飾り セット", "クリスマス飾り　セット")),
        ("كتاب الطبخ العربي", ("الطبخ العربي", "الطبخ العربي")),
        ("ספר בישול", ("ספר בישול", "ספר  בישול")),
        ("हिन्दी किताब", ("हिन्दी किताब", "हिन्दी किताब")),
        ("ที่นอน เด็ก", ("ที่นอน", "ที่นอน")),
    ],
)
def test_phrases_are_found_in_any_script(text: str, phrase: tuple[str, str]) -> None:
    asked, other_spelling = map(whole_key, phrase)
    assert asked == other_spelling
    assert asked in keys(text)


def test_decomposed_letters_are_the_same_letters() -> None:
    assert whole_key(unicodedata.normalize("NFD", "Größe Café")) == whole_key("Größe Café")
    assert len(whole_key(unicodedata.normalize("NFD", "Größe"))) == 1


def test_vowel_signs_do_not_cut_words() -> None:
    assert [len(whole_key(word)) for word in ("كِتَاب", "שָׁלוֹם", "हिन्दी", "ที่นอน")] == [1, 1, 1, 1]


def test_one_key_for_singular_and_plural_case_and_apostrophe() -> None:
    assert whole_key("Cake Cases") == whole_key("cake case")
    assert whole_key("lady's box") == whole_key("Lady’s boxes")


def test_markup_links_and_addresses_are_no_words() -> None:
    text = "A <b class='x'>small</b> tool &amp; more, see https://example.org/x?y=1 or me@example.org www.z.example"
    assert plain(text) == "A small tool & more, see or"
    assert plain("&lt;script&gt;alert(1)&lt;/script&gt; lamp") == "alert(1) lamp"
    assert plain(None) == plain("") == plain("<br>") == ""
    assert ("b",) not in keys("<b>lamp</b>")


def test_codes_and_numbers_end_a_run_and_emoji_are_no_words() -> None:
    assert keys("🎄 tea cup 🎄") == {("tea",), ("cup",), ("tea", "cup")}
    assert keys("lamp 85123A shade") == {("lamp",), ("shade",)}
    assert keys("12 34 5") == set()
    assert keys("🎄🎁❤️") == set()


def test_function_words_end_a_run_and_a_word_is_not_said_twice() -> None:
    assert ("set", "tea") not in keys("set of tea")
    assert keys("tea tea") == {("tea",)}


def test_long_texts_are_read_up_to_a_bound() -> None:
    assert len(runs_of("word " * 5000, 16)[0].key) == 16


def test_categories_are_split_and_carry_no_markup() -> None:
    assert parts_of("Home &gt; <b>Candles</b>|Tea", None) == (["Home", "Candles", "Tea"], [])
    assert parts_of(None, ["<i>glass</i>", "  ", "<br>"]) == ([], ["glass"])


@given(st.text(max_size=60))
def test_any_text_can_be_read(text: str) -> None:
    for key, written in phrases_of(runs_of(plain(text), 16)).items():
        assert 1 <= len(key) <= 3
        assert whole_key(written) == key
    name = write_name(text)
    assert name == "" or name.isprintable()
    assert not set("<>\n\r") & set(name)


@given(st.text(alphabet="aA1éß-'’&ِ ", max_size=40))
def test_a_phrase_is_the_key_of_its_own_text(text: str) -> None:
    for key, written in phrases_of(runs_of(text, 16)).items():
        assert whole_key(written) == key
