"""What pages about everybody share: asking in the background, links to people, and lists that fill when opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nicegui import run, ui

from wayline.access import Scope
from wayline.errors import NoGenerationError, WaylineError
from wayline.studio.frame import person_path
from wayline.studio.pieces import Button, button, empty, says, tag


class Asking:
    """One question of a page: asked in a thread, with what became of it in the page's line.

    Parameters
    ----------
    check : callable
        Raises ``NotAllowedError`` where the visitor may not look any more; asked each time.
    line : element
        Says what is going on, and when the answer is of.
    trouble : element
        Says what went wrong.
    """

    def __init__(self, check: Callable[[Scope], None], line: Any, trouble: Any) -> None:
        self._check, self._line, self._trouble = check, line, trouble

    async def ask(self, question: Callable[[], Any]) -> Any:
        """Give the answer; None where there is none, or nobody looks any more.

        Raises
        ------
        NoGenerationError
            If nothing was built yet: the page says what to run.
        """
        self._line.text, self._trouble.text = "counting …", ""
        try:
            self._check(Scope.READ)
            found = await run.io_bound(question)
        except NoGenerationError:
            self._say("")
            raise
        except WaylineError as error:
            self._say("")
            self._trouble.text = str(error)
            return None
        except Exception:
            self._say("")
            self._trouble.text = "The server failed: see its log."
            raise
        return None if self._line.is_deleted else found  # the page was left

    def _say(self, text: str) -> None:
        self._line.text = text

    def answered(self, text: str) -> None:
        """Say of when the answer is."""
        self._say(text)


def opening(title: str, anew: Callable[[], Any]) -> tuple[Any, Any, Button]:
    """Lay out the head of such a page; gives the line of when it is, the one for trouble, and "Count anew"."""
    with tag("div", "person-head"):
        with tag("div"):
            says("h1", title)
            when = says("p", "", "note")
            when.props["aria-live"] = "polite"
        with tag("div"):
            again = button("Count anew", anew)
    return when, says("p", "", "trouble"), again


def not_built() -> None:
    """What stands where a build would have put something."""
    empty(
        "Nothing has been built from the log yet, so it is not known what interests people. Run:",
        "wayline build",
    )


def people_links(user_ids: Sequence[str], about: str) -> None:
    """Links to a few people, to see what a row means."""
    if not user_ids:
        return
    with tag("p", "some-people", role="group", aria_label=f"Some people: {about}"):
        says("span", "look at", "note")
        for user_id in user_ids:
            ui.link(user_id, person_path(user_id)).classes("person-link")


def later(title: str, fill: Callable[[], None]) -> None:
    """Put a list behind its title; it is made when somebody opens it, since pages are full enough without it."""
    filled = False
    with tag("details") as details:
        says("summary", title)
        place = tag("div")

    def open_() -> None:
        nonlocal filled
        if not filled:
            filled = True
            with place:
                fill()

    details.on("toggle", open_)
