"""Whatever a title holds, a message stays one line, one direction and one piece."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayline.config import NotificationsConfig
from wayline.errors import TemplateError
from wayline.notifications.copy import (
    HTML,
    NAMES,
    TEXT,
    TITLE,
    Shown,
    Templates,
    Words,
    write_templates,
)
from wayline.notifications.text import clean, cut, isolate

CONFIG = NotificationsConfig(
    item_url="https://shop.example/i/{item_id}?n={notification_id}",
    unsubscribe_url="https://shop.example/off?user={user_id}",
)
ITEMS = [Shown("a/1", "Brass lamp"), Shown("b", "Oak table", image_url="https://img.example/b.png")]
HOSTILE = '<script>alert("x")</script>\r\nBcc: all@example.org\u202e'


def words(folder: Path, config: NotificationsConfig = CONFIG, **given: object) -> Words:
    values = {"journey": "Lamps", "keywords": ["lamp"], "items": ITEMS} | given
    return Templates(folder, config).words(
        **values,
        user_id="ann@example.org",
        notification_id="n1",  # type: ignore[arg-type]
    )


def test_the_packaged_templates_name_the_journey_and_every_item(tmp_path: Path) -> None:
    made = words(tmp_path)
    assert made.title == "Lamps: here is what comes next"
    for text in (made.text, made.html):
        for part in ("Lamps", "Brass lamp", "Oak table", "https://shop.example/i/a%2F1?n=n1",
                     "https://shop.example/off?user=ann%40example.org"):  # fmt: skip
            assert part in text
    assert made.text.splitlines()[2] == "- Brass lamp: https://shop.example/i/a%2F1?n=n1"


def test_html_in_titles_is_never_rendered_and_no_line_is_broken(tmp_path: Path) -> None:
    made = words(tmp_path, journey=HOSTILE, items=[Shown("<b>", HOSTILE), Shown("c", "")])
    assert "<script>" not in made.html
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt; Bcc: all@example.org" in made.html
    assert "\n" not in made.title
    assert "\r" not in made.text
    assert "\nBcc" not in made.text
    assert "\u202e" not in made.title + made.text + made.html


def test_an_image_that_is_no_web_address_is_left_out(tmp_path: Path) -> None:
    templates = tmp_path
    (templates / HTML).write_text("{% for i in items %}[{{ i.image_url }}]{% endfor %}")
    items = [Shown("a", "A", image_url=url) for url in ("javascript:x", 'https://i/"><b>', "")]
    assert words(templates, items=items).html == "[][https://i/%22%3E%3Cb%3E][]"


def test_emoji_and_right_to_left_names_survive_and_stay_in_their_place(tmp_path: Path) -> None:
    family, hebrew, arabic = "Family 👨‍👩‍👧‍👦 mug", "מנורה לגינה", "مصباح حديقة"
    made = words(tmp_path, journey=hebrew, items=[Shown("a", family), Shown("b", arabic)])
    assert made.title == f"\u2068{hebrew}\u2069: here is what comes next"
    assert f"- {family}: " in made.text
    assert f"- \u2068{arabic}\u2069: " in made.text
    assert isolate("plain") == "plain"


def test_a_text_that_is_too_long_loses_its_last_items_first(tmp_path: Path) -> None:
    items = [Shown(f"i{n}", f"A lamp with a long name {n}") for n in range(20)]
    config = NotificationsConfig(text_limit=300, unsubscribe_url="https://shop.example/off")
    made = words(tmp_path, config, items=items)
    assert 0 < len(made.items) < 20
    assert len(made.text) <= 300
    assert made.text.endswith("https://shop.example/off")
    assert made.html.count("<li>") == len(made.items)


def test_titles_are_cut_to_their_limit(tmp_path: Path) -> None:
    config = NotificationsConfig(title_limit=20)
    assert words(tmp_path, config, journey="Christmas decorations").title == "Christmas…"


@given(st.text(max_size=80), st.integers(1, 60))
def test_a_cut_text_is_short_enough_and_whole(text: str, limit: int) -> None:
    shown = isolate(clean(text))
    short = cut(shown, limit)
    assert len(short) <= limit
    assert len(shown) > limit or short == shown
    assert clean(shown) == clean(text)


@pytest.mark.parametrize("cluster", ["👨‍👩‍👧‍👦", "👍🏽", "🇩🇪", "é", "नि"])
def test_a_cut_never_goes_through_a_cluster(cluster: str) -> None:
    for limit in range(2, 3 * len(cluster) + 2):
        head = cut(cluster * 4, limit).removesuffix("…")
        assert head == cluster * (len(head) // len(cluster))


def test_a_cut_isolate_is_closed() -> None:
    short = cut(isolate("מנורה לגינה יפה מאוד"), 12)
    assert (short.count("\u2068"), short.count("\u2069")) == (1, 1)
    assert len(short) <= 12


@given(st.text())
def test_a_clean_text_is_one_line_without_controls(text: str) -> None:
    made = clean(text)
    assert made == clean(made)
    assert len(made.splitlines()) <= 1
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in made)
    made.encode()


def test_a_workspace_has_its_own_words(tmp_path: Path) -> None:
    folder = tmp_path / "templates"
    assert [path.name for path in write_templates(folder)] == list(NAMES)
    (folder / TITLE).write_text("Noch mehr {{ journey | upper }}!\n")
    assert write_templates(folder) == []
    assert words(folder).title == "Noch mehr LAMPS!"
    (folder / TEXT).unlink()
    assert "Here is what comes next" in words(folder).text


@pytest.mark.parametrize(
    ("name", "source", "line", "said"),
    [
        (TEXT, "Hello\n{{ jurney }}\n", 2, "'jurney' is undefined"),
        (TEXT, "Hello\n\n{% for i in items %}\n", 3, "Unexpected end of template"),
        (HTML, "<p>\n{{ journey.nothing }}</p>", 2, "nothing"),
        (TITLE, "{{ ''.__class__.__mro__ }}", 1, "unsafe"),
        (TITLE, "{{ 1 / 0 }}", 1, "division"),
        (TEXT, "{% include 'wayline.toml' %}", 1, "no loader"),
        (TITLE, " \n ", None, "empty"),
        (HTML, b"\xff\xfe\xff", None, "cannot be read"),
    ],
)
def test_a_template_with_an_error_is_one_line_with_file_and_line(
    tmp_path: Path, name: str, source: str | bytes, line: int | None, said: str
) -> None:
    (tmp_path / name).write_bytes(source if isinstance(source, bytes) else source.encode())
    with pytest.raises(TemplateError) as caught:
        Templates(tmp_path, CONFIG)
    message = caught.value.message
    assert "\n" not in message
    assert message.startswith(f"templates/{name}" + ("" if line is None else f", line {line}:"))
    assert said in message


def test_a_template_that_is_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / TEXT).mkdir()
    with pytest.raises(TemplateError, match="cannot be read"):
        Templates(tmp_path, CONFIG)
