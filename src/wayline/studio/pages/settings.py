"""What an operator looks after: API keys, storage, backups, and the settings as resolved."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import Request
from nicegui import run, ui
from nicegui.element import Element

from wayline.access import Scope
from wayline.clock import wall_clock
from wayline.errors import NotAllowedError, WaylineError
from wayline.schema import NewApiKey
from wayline.storage.usage import disk_use, folder_bytes
from wayline.studio.frame import asks_for_key, check_of, engine_of, frame
from wayline.studio.pieces import button, dialog, empty, fact, says, section, tag
from wayline.studio.views import settings as views
from wayline.studio.views.words import size

if TYPE_CHECKING:
    from wayline.engine import Engine

KEY_COLUMNS = ("name", "id", "scope", "created", "last used", "")
WATCH_S = 0.5
COPY = """() => {
    const secret = document.getElementById('new-key');
    getSelection().selectAllChildren(secret);
    if (navigator.clipboard) navigator.clipboard.writeText(secret.textContent);
    else document.execCommand('copy');
}"""


def register() -> None:
    """Add the page."""
    ui.page("/settings")(page)


def page(request: Request) -> None:
    """Lay the page out; what it shows comes as soon as the browser is there."""
    engine, check = engine_of(request), check_of(request)
    with frame(request, "Settings"):
        says("h1", "Settings")
        board = Board(engine, check, lambda: asks_for_key(request), says("p", "", "trouble"))
        with section("API keys", "who may call the server, and how much each may"):
            keys = Keys(board)
        with tag("div", "halves"):
            with section("Storage", "what this workspace takes on its disk"):
                storage = tag("div")
            with section("Backup", "a copy of the workspace as of now, while it is in use"):
                backup = tag("div")
        with section("Configuration", "as resolved: program over environment over wayline.toml"):
            resolved = tag("div")

    async def fill() -> None:
        if await board.may_look():
            await keys.refresh()
            await board.fill_storage(storage)
            Backup(board, backup).fill()
            board.fill_settings(resolved)

    ui.timer(0.01, fill, once=True)


class Board:
    """What the parts of the page share."""

    def __init__(
        self,
        engine: Engine,
        check: Callable[[Scope], None],
        asks: Callable[[], bool],
        trouble: Any,
    ) -> None:
        self.engine, self.check, self.asks, self._trouble = engine, check, asks, trouble

    async def may_look(self) -> bool:
        """Whether somebody is signed in; else it is said."""
        why = self.why_not(Scope.READ)
        self._trouble.text = why
        return not why

    def why_not(self, scope: Scope) -> str:
        """Why the visitor may not do what needs a scope; "" for who may."""
        try:
            self.check(scope)
        except NotAllowedError as error:
            return str(error)
        return ""

    async def fill_storage(self, place: Element) -> None:
        """Show what the workspace takes."""
        use = await run.io_bound(disk_use, self.engine.path)
        if use is None or place.is_deleted:
            return
        place.clear()
        current = self.engine.current_generation()
        with place:
            with tag("dl", "facts figures"):
                for pair in views.storage_facts(use):
                    fact(*pair)
            says("p", views.room_line(use), "trouble")
            if not use.generations:
                empty("Nothing has been built yet. Run:", "wayline build")
                return
            with tag("table", "list"):
                for id_, taken in reversed(use.generations.items()):
                    with tag("tr"):
                        says("td", id_)
                        with tag("td"):
                            if id_ == current:
                                says("span", "in use", "pill")
                        says("td", size(taken), "number")

    def fill_settings(self, place: Element) -> None:
        """Show every setting, and a box to find some."""
        with place:
            with tag("div", "search"):
                box = ui.input(placeholder="find a setting")
                box.props("outlined dense clearable hide-bottom-space debounce=200")
                box.props["aria-label"] = "Find settings by name, value or where they come from"
            line = says("p", "", "note")
            line.props["role"] = "status"
            table = tag("div")

        def fill() -> None:
            rows = views.setting_rows(self.engine.settings, box.value or "")
            line.text = views.settings_line(rows)
            table.clear()
            with table:
                if not rows:
                    empty("No setting has that in its name, value or origin.")
                    return
                changed = [row for row in rows if row.changed]
                if (box.value or "").strip():
                    _table(rows)
                    return
                if changed:
                    _table(changed)
                with tag("details"):
                    says("summary", f"{len(rows) - len(changed):,} as by default")
                    _table([row for row in rows if not row.changed])

        box.on_value_change(fill)
        fill()


def _table(rows: list[views.SettingRow]) -> None:
    with tag("table", "config"):
        for row in rows:
            with tag("tr", "differs" if row.changed else ""):
                says("td", row.name, "key")
                with tag("td"):
                    says("span", row.value, "value")
                    if row.note:
                        says("span", row.note, "note")
                says("td", row.origin, "note origin")


class Keys:
    """The API keys: listed, made, revoked."""

    def __init__(self, board: Board) -> None:
        self._board, self._access = board, board.engine.access
        self._place = tag("div")
        # Made now: the first key ever shuts the page out before more of it could be loaded.
        self._told = dialog("New key", opened=False).props("persistent").on("hide", self._forget)

    async def refresh(self) -> None:
        """Ask again, and show what there is; who may not see it is told why."""
        why = self._board.why_not(Scope.ADMIN)
        found = [] if why else await run.io_bound(self._access.list_keys)
        if found is None or self._place.is_deleted:
            return
        engine = self._board.engine
        rows = views.key_rows(found, wall_clock())
        configured = len(engine.config.server.api_keys)
        self._place.clear()
        with self._place:
            if why:
                says("p", f"Keys are not shown. {why}", "note")
                return
            says("p", views.keyless_line(asks=self._board.asks()), "note said")
            says("p", views.configured_line(engine.settings, configured), "note said")
            if rows:
                self._table(rows)
            elif not configured:
                empty("There is no key yet.")
            self._form(first=not configured and not any(row.live for row in rows))

    def _table(self, rows: list[views.KeyRow]) -> None:
        with (
            tag("div", "wide", tabindex="0", role="group", aria_label="API keys"),
            tag("table", "list keys"),
        ):
            with tag("tr"):
                for column in KEY_COLUMNS:
                    says("th", column)
            for row in rows:
                with tag("tr", "" if row.live else "gone"):
                    cells = (row.name, row.key_id, row.scope, row.created, row.used)
                    for column, cell in zip(KEY_COLUMNS, cells, strict=False):
                        says("td", cell).props["data-column"] = column  # said again on a phone
                    with tag("td"):
                        if row.live:
                            button(
                                "Revoke", lambda row=row: self._ask(row), label=f"Revoke {row.name}"
                            )
                        else:
                            says("span", row.state, "note")

    def _form(self, *, first: bool) -> None:
        with tag("form", "row new-key") as form:
            name = ui.input(placeholder="who will use it").props(
                "outlined dense hide-bottom-space maxlength=100"
            )
            name.props["aria-label"] = "Name of the new key"
            least = Scope.ADMIN if first else Scope.READ
            scope = ui.select([str(one) for one in Scope], label="scope", value=str(least))
            scope.props("outlined dense options-dense hide-bottom-space")
            button("Make a key", lambda: None, "primary").props("type=submit")

        async def make() -> None:
            asked = self._board.asks()
            try:
                self._board.check(Scope.ADMIN)
                made = await run.io_bound(self._access.create_key, name.value or "", scope.value)
            except WaylineError as error:
                ui.notify(str(error), type="warning")
                return
            if made is not None:
                self._tell(made, first=not asked)

        form.on("submit.prevent", make)

    def _tell(self, made: NewApiKey, *, first: bool) -> None:
        """Show the secret, this once: it leaves the page and our memory with the dialog."""
        with self._told, tag("div", "dialog edit"):
            says("h3", f"The key {made.key.name}, scope {made.key.scope}")
            says("p", "Send it as X-API-Key. It is shown this once, and kept nowhere.")
            secret = says("code", made.secret, "secret")
            secret.props["id"] = "new-key"
            secret.props["tabindex"] = "0"
            if first:
                says(
                    "p",
                    "From now on this server asks everybody for a key: load this page anew to sign in.",
                    "real",
                )
            with tag("div", "acts"):
                copy = button("Copy", lambda: ui.notify("Copied."), "primary")
                copy.on("click", js_handler=COPY)
                button("I have kept it", self._told.close)
        self._told.open()

    async def _forget(self) -> None:
        self._told.clear()
        await self.refresh()

    def _ask(self, row: views.KeyRow) -> None:
        """Ask before somebody is shut out."""
        with dialog("Revoke a key") as asked, tag("div", "dialog"):
            says(
                "p",
                f"Let the key {row.name} ({row.key_id}) count no more, for good? Whoever uses it is refused within a "
                "second, you too if you signed in with it.",
            )
            with tag("div", "row"):
                button("Revoke it", lambda: self._revoke(asked, row.key_id), "primary")
                button("Cancel", asked.close)

    async def _revoke(self, asked: Any, key_id: str) -> None:
        asked.close()
        try:
            self._board.check(Scope.ADMIN)
            gone = await run.io_bound(self._access.revoke_key, key_id)
        except WaylineError as error:
            ui.notify(str(error), type="warning")
            return
        if gone is not None:
            ui.notify(f"{gone.name} counts no more.")
        await self.refresh()


class Backup:
    """A backup, and how far it is."""

    def __init__(self, board: Board, place: Element) -> None:
        self._board, self._place = board, place

    def fill(self) -> None:
        """Show the form; who may not is told why."""
        why = self._board.why_not(Scope.ADMIN)
        target = views.default_target(self._board.engine.path, wall_clock())
        with self._place:
            if why:
                says("p", why, "note")
                return
            with tag("form", "new-key") as form:
                self._folder = ui.input("Folder on the server, a new one", value=target)
                self._folder.props("outlined dense hide-bottom-space")
                with tag("div", "acts"):
                    self._start = button("Back up now", lambda: None, "primary").props(
                        "type=submit"
                    )
            self._bar = ui.linear_progress(0, show_value=False, size="6px").props(
                "instant-feedback"
            )
            self._bar.props["aria-label"] = "How far the backup is"
            self._bar.set_visibility(False)
            self._said = says("p", "", "note said")
            self._said.props["role"] = "status"
            self._how = says("code", "")
            self._how.set_visibility(False)
        form.on("submit.prevent", self._run)

    async def _run(self) -> None:
        try:
            self._board.check(Scope.ADMIN)
            target = views.target_of(self._folder.value or "")
        except WaylineError as error:
            self._say(str(error))
            return
        engine = self._board.engine
        expected = await run.io_bound(lambda: disk_use(engine.path).backed_up)
        self._say("Copying …")
        self._start.disable()
        self._bar.value = 0
        self._bar.set_visibility(True)
        began = time.monotonic()
        with self._place:
            watch = ui.timer(WATCH_S, lambda: self._watch(target, expected or 1))
        try:
            made = await run.io_bound(engine.backup, target)
            written = await run.io_bound(folder_bytes, target)
        except WaylineError as error:
            self._say(str(error))
        else:
            if made is not None and written is not None:
                self._say(views.done_line(made, written, time.monotonic() - began), made)
        finally:
            watch.cancel()
            if not self._place.is_deleted:
                self._start.enable()
                self._bar.set_visibility(False)

    async def _watch(self, target: Path, expected: int) -> None:
        written = await run.io_bound(folder_bytes, target)
        if written is not None and not self._place.is_deleted:
            self._bar.value = min(written / expected, 1.0)

    def _say(self, line: str, made: Path | None = None) -> None:
        if self._place.is_deleted:
            return
        self._said.text = line
        self._how.text = "" if made is None else views.restore_line(made)
        self._how.set_visibility(made is not None)
