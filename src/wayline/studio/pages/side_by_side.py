"""Two feeds of one person side by side."""

from __future__ import annotations

from nicegui import ui

from wayline.schema import Feed
from wayline.studio.pieces import empty, says, tag
from wayline.studio.views.recipe import beside, summed


def fill_sides(user_id: str, path: str, left: Feed, right: Feed, heads: tuple[str, str]) -> None:
    """Show one person's two feeds: what is new on the right, what is gone on the left."""
    with tag("article", "sides", aria_label=f"Feeds of {user_id}"):
        with tag("div", "card-head"):
            with tag("h3"):
                ui.link(user_id, path)
            says("span", summed(left, right), "note")
        if not left.items and not right.items:
            empty("Nothing to show to them.")
            return
        with tag("table", "list beside"):
            with tag("thead"), tag("tr"):
                for head in heads:
                    says("th", head)
            for row in beside(left, right):
                with tag("tr"):
                    says("td", row.left, "gone" if row.gone else "")
                    with tag("td", "fresh" if row.moved == "new" else ""):
                        says("span", row.right)
                        if row.moved:
                            says("span", row.moved, "moved")
