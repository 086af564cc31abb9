"""What a notification says: templates that a product person edits, filled in for one person and journey.

The files lie in ``templates/`` of the workspace; one that is not there is the packaged one. They are jinja2, in its
sandbox: a template can read what it is given and nothing else.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import StrictUndefined, Template, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from wayline.config import NotificationsConfig
from wayline.errors import TemplateError
from wayline.notifications.text import clean, cut, isolate

TITLE, TEXT, HTML = "notification.title.txt", "notification.text.txt", "notification.html"
NAMES = (TITLE, TEXT, HTML)
VARIABLES = (
    "journey, keywords, items (each with id, title, url, image_url), user_id, notification_id, "
    "unsubscribe_url"
)


@dataclass(frozen=True, slots=True)
class Shown:
    """One item as a message shows it."""

    id: str
    title: str
    url: str = ""
    image_url: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """A notification in words, and the items that they name."""

    title: str
    text: str
    html: str
    items: list[Shown]
    unsubscribe_url: str = ""


class Templates:
    """The three templates of a workspace, read and tried once.

    Parameters
    ----------
    folder : Path
    config : NotificationsConfig

    Raises
    ------
    TemplateError
        If one of them cannot be read or rendered; one line with file and line.
    """

    def __init__(self, folder: Path, config: NotificationsConfig) -> None:
        self._config = config
        self._templates = {name: _compiled(name, _source(folder, name)) for name in NAMES}
        sample = [Shown(str(n), f"Item {n}", "https://example.org/") for n in range(2)]
        self.words("Journey", ["keyword"], sample, user_id="user", notification_id="0")

    def words(
        self,
        journey: str,
        keywords: Sequence[str],
        items: Sequence[Shown],
        *,
        user_id: str,
        notification_id: str,
    ) -> Words:
        """Fill the templates in; a text that is too long loses its last items first.

        Raises
        ------
        TemplateError
            If a template fails on these values, or makes no title or no text.
        """
        config = self._config
        fields = {"user_id": user_id, "notification_id": notification_id}
        given: dict[str, Any] = {
            "journey": isolate(clean(journey)),
            "keywords": [isolate(clean(word)) for word in keywords],
            "user_id": clean(user_id),
            "notification_id": notification_id,
            "unsubscribe_url": link(config.unsubscribe_url, fields),
        }
        shown = [_presentable(item, config.item_url, fields) for item in items]
        text = self._render(TEXT, given, shown)
        while len(text) > config.text_limit and len(shown) > 1:
            shown = shown[:-1]
            text = self._render(TEXT, given, shown)
        title = clean_title(self._render(TITLE, given, shown))
        for name, made in ((TITLE, title), (TEXT, text)):
            if not made:
                raise TemplateError(_path(name), None, "it makes an empty text", "write something")
        return Words(
            cut(title, config.title_limit),
            cut(text, config.text_limit),
            self._render(HTML, given, shown),
            shown,
            given["unsubscribe_url"],
        )

    def _render(self, name: str, given: Mapping[str, Any], items: Sequence[Shown]) -> str:
        try:
            return self._templates[name].render(given, items=list(items)).strip()
        except Exception as error:  # whatever a template can do wrong is the template's
            raise TemplateError(
                _path(name), _line_of(error, name), str(error), f"it may use {VARIABLES}"
            ) from None


def clean_title(text: str) -> str:
    """One line; the isolates that we put round names stay."""
    return " ".join(text.split())


def link(pattern: str, fields: Mapping[str, str]) -> str:
    """Fill ``{user_id}`` and the like into a configured address, quoted.

    >>> link("https://shop.example/i/{item_id}", {"item_id": "a/b c"})
    'https://shop.example/i/a%2Fb%20c'
    """
    for name, value in fields.items():
        quoted = quote(value.encode("utf-8", "replace"), safe="")
        pattern = pattern.replace(f"{{{name}}}", quoted)
    return pattern


def write_templates(folder: Path) -> list[Path]:
    """Put the packaged templates where they can be edited; those already there stay. Gives the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in NAMES:
        if not (folder / name).exists():
            (folder / name).write_text(_packaged(name), "utf-8")
            written.append(folder / name)
    return written


def _presentable(item: Shown, pattern: str, fields: Mapping[str, str]) -> Shown:
    image = item.image_url if item.image_url.startswith(("https://", "http://")) else ""
    return Shown(
        item.id,
        isolate(clean(item.title) or clean(item.id)),
        link(pattern, {"item_id": item.id, **fields}),
        quote(image.encode("utf-8", "replace"), safe=":/?#[]@!$&'()*+,;=%~"),
    )


def _packaged(name: str) -> str:
    return files("wayline").joinpath("notifications", "templates", name).read_text("utf-8")


def _source(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text("utf-8")
    except FileNotFoundError:
        return _packaged(name)
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(
            _path(name), None, f"it cannot be read ({error})", "mend it, or remove it for the packaged one"
        ) from None  # fmt: skip


def _compiled(name: str, source: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        autoescape=name == HTML, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["isolate"] = isolate
    try:
        code = environment.compile(source, name, filename=_path(name))
    except TemplateSyntaxError as error:
        raise TemplateError(
            _path(name), error.lineno, error.message or "it cannot be read", "mend that line"
        ) from None
    return environment.template_class.from_code(environment, code, environment.make_globals(None))


def _path(name: str) -> str:
    return f"templates/{name}"


def _line_of(error: Exception, name: str) -> int | None:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == _path(name)]
    return lines[-1] if lines else None
