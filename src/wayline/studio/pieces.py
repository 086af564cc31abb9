"""The few building blocks that pages are made of; every text goes in as text, never as HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nicegui import ui
from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement


def tag(name: str, classes: str = "", **attributes: str) -> Element:
    """An element that holds others."""
    element = ui.element(name)
    if classes:
        element.classes(classes)
    for key, value in attributes.items():
        element.props[key.replace("_", "-")] = value
    return element


def says(name: str, text: str, classes: str = "") -> TextElement:
    """An element that says a text."""
    element = TextElement(tag=name, text=text)
    if classes:
        element.classes(classes)
    return element


@contextmanager
def section(title: str, note: str = "", classes: str = "") -> Iterator[Element]:
    """A part of a page with a heading."""
    with tag(
        "section", f"part {classes}", aria_label=title, id=title.partition(" ")[0].lower()
    ) as element:
        with tag("div", "part-head"):
            says("h2", title)
            if note:
                says("p", note, "note")
        yield element


def empty(text: str, command: str = "") -> None:
    """What stands where there is nothing yet, and what to do about it."""
    with tag("div", "empty"):
        says("p", text)
        if command:
            says("code", command)


def fact(name: str, value: str) -> None:
    """A name and what it is."""
    with tag("div", "fact"):
        says("dt", name)
        says("dd", value)


class Button(TextElement):
    """The browser's own button: a page has a hundred, and a component each would cost a second."""

    def __init__(self, text: str, on_click: Callable[..., Any] | None) -> None:
        super().__init__(tag="button", text=text)
        self.props["type"] = "button"
        if on_click is not None:
            self.on_click(on_click)

    def on_click(self, handler: Callable[..., Any]) -> None:
        """Call this at each click; what it gives is awaited where it can be."""
        self.on("click", handler, [])

    def disable(self) -> None:
        """Let it be seen and not clicked."""
        self.props["disabled"] = True

    def enable(self) -> None:
        """Let it be clicked again."""
        self.props.pop("disabled", None)


def button(
    text: str,
    on_click: Callable[..., Any] | None,
    classes: str = "",
    *,
    label: str = "",
    submit: bool = False,
) -> Button:
    """A small flat button; ``label`` is what a screen reader says, ``submit`` sends the form around it."""
    made = Button(text, on_click)
    made.classes(f"act {classes}")
    if label:
        made.props["aria-label"] = label
    if submit:
        made.props["type"] = "submit"
    return made


def dialog(name: str, *, opened: bool = True) -> ui.dialog:
    """A dialog, called something for those who hear it; what stands in it goes into its ``with``."""
    made = ui.dialog(value=opened)
    made.props["aria-label"] = name
    return made
