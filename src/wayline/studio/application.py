"""NiceGUI's application with our pages; importing this loads NiceGUI."""

from __future__ import annotations

from fastapi import FastAPI
from nicegui import app, ui

from wayline.studio.pages import (
    generations,
    interests_at_large,
    items,
    journeys_at_large,
    overview,
    person,
    recipe,
    settings,
    why,
)

ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><rect width='32' height='32' rx='8' fill='#0f766e'/>"
    "<path d='M6 12l4 10 6-12 6 12 4-10' fill='none' stroke='#fff' stroke-width='3' stroke-linecap='round' "
    "stroke-linejoin='round'/></svg>"
)


def make_application() -> FastAPI:
    """Register the pages and give the application that serves them; once in a process."""
    overview.register()
    person.register()
    why.register()
    recipe.register()
    interests_at_large.register()
    journeys_at_large.register()
    generations.register()
    items.register()
    settings.register()
    # A bar at the top of the page for requests of scripts: ours make none, and what looks at a page may.
    app.config.quasar_config["loadingBar"]["skipHijack"] = True
    ui.run_with(
        FastAPI(),  # only to hand in the settings: our server mounts NiceGUI's application itself
        title="wayline studio",
        language="en-US",
        favicon=ICON,
        dark=None,  # as the system has it, until somebody chooses
        tailwind=False,  # a compiler in the browser, for the few rules in studio.css
        binding_refresh_interval=None,  # no page binds values
        reconnect_timeout=10,
        show_welcome_message=False,
    )
    return app
