"""Parts of pages as one piece of HTML: what has hundreds of tags would cost a second as components.

Every text goes in escaped: only what :func:`h` made itself goes in as HTML.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from html import escape
from typing import Any

from nicegui import ui
from nicegui.events import GenericEventArguments

VOID = {"img", "br", "hr", "input"}
CLICKED = """(event) => {
  const button = event.target.closest('[data-do]');
  if (button) { event.preventDefault(); emit(button.dataset.do); }
}"""


class Html(str):
    """Text that is HTML already; only :func:`h` makes it."""

    __slots__ = ()


Content = str | Html | None | Iterable["str | Html | None"]


def h(tag: str, *content: Content, cls: str = "", **attributes: str | None) -> Html:
    """Give one tag with what it holds; a text is escaped, None is left out.

    >>> h("p", "a < b", h("b", '"c"'), cls="note", aria_label='"x"')
    '<p class="note" aria-label="&quot;x&quot;">a &lt; b<b>&quot;c&quot;</b></p>'
    """
    named = {"class": cls or None, **attributes}
    written = "".join(
        f' {name.replace("_", "-")}="{escape(value, quote=True)}"'
        for name, value in named.items()
        if value is not None
    )
    if tag in VOID:
        return Html(f"<{tag}{written}>")
    return Html(f"<{tag}{written}>{''.join(_texts(content))}</{tag}>")


def _texts(content: Iterable[Content]) -> Iterable[str]:
    for one in content:
        if one is None:
            continue
        if isinstance(one, Html):
            yield one
        elif isinstance(one, str):
            yield escape(one, quote=True)
        else:
            yield from _texts(one)


def act(text: str, *what: str, cls: str = "", label: str | None = None) -> Html:
    """A button that says what to do: ``what`` reaches the part's handler; see :func:`part`."""
    return h(
        "button", text, cls=f"act {cls}".strip(), type="button", data_do=json.dumps(what),
        aria_label=label,
    )  # fmt: skip


def nothing(text: str, command: str = "") -> Html:
    """What stands where there is nothing yet, and what to do about it."""
    return h("div", h("p", text), h("code", command) if command else None, cls="empty")


def facts(pairs: Iterable[tuple[str, str]]) -> Html:
    """Names and what each is."""
    return h("dl", [h("div", h("dt", k), h("dd", v), cls="fact") for k, v in pairs], cls="facts")


def table(heads: Iterable[str], rows: Iterable[Html], cls: str = "list") -> Html:
    """A table of rows that are made already."""
    head = h("thead", h("tr", [h("th", name) for name in heads]))
    return h("table", head, h("tbody", rows), cls=cls)


def part(do: Callable[..., Any] | None = None) -> Part:
    """A part of a page that is one piece of HTML.

    Parameters
    ----------
    do : callable, optional
        Called with the words of the button that was clicked; what it gives is awaited where it can be. The words come
        from the browser: whoever sits at it may send others.
    """
    return Part(do)


class Part(ui.html):
    """See :func:`part`."""

    def __init__(self, do: Callable[..., Any] | None) -> None:
        super().__init__("", sanitize=False)
        if do is not None:

            def clicked(event: GenericEventArguments) -> Any:
                words = _words(event.args)
                return do(*words) if words else None

            self.on("click", clicked, js_handler=CLICKED)

    def show(self, *content: Content) -> None:
        """Show this, and nothing of what stood there."""
        made = "".join(_texts(content))
        if made != self.content:
            self.content = made


def _words(sent: object) -> list[str]:
    try:
        words = json.loads(sent) if isinstance(sent, str) else None
    except ValueError:
        return []
    return words if isinstance(words, list) and all(isinstance(w, str) for w in words) else []
