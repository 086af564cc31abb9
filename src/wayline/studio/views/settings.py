"""What an operator sees: keys, settings, storage, backups."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from wayline.errors import InputError, shorten
from wayline.schema import ApiKey
from wayline.settings import Setting
from wayline.storage.usage import DiskUse
from wayline.studio.views.words import ago, count, minute, share, size


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One API key, without its secret."""

    key_id: str
    name: str
    scope: str
    created: str
    used: str
    state: str
    live: bool


def key_rows(keys: Sequence[ApiKey], now_ms: int) -> list[KeyRow]:
    """Write the keys: those that count first, the newest first."""
    rows = [
        KeyRow(
            one.key_id,
            one.name,
            one.scope,
            minute(one.created_at),
            "never" if one.last_used_at is None else _used(one.last_used_at, now_ms),
            "" if one.revoked_at is None else f"revoked {ago(one.revoked_at, now_ms)}",
            one.revoked_at is None,
        )
        for one in reversed(keys)
    ]
    return sorted(rows, key=lambda row: not row.live)


def _used(ts_ms: int, now_ms: int) -> str:
    """Uses are noted to the hour."""
    said = ago(ts_ms, now_ms)
    return "in the last hour" if said == "just now" or "minute" in said else said


def configured_line(settings: Sequence[Setting], number: int) -> str:
    """Say how many keys stand in the settings, "" for none."""
    if not number:
        return ""
    origin = next((one.origin for one in settings if one.name == "server.api_keys"), "")
    other = "key is" if number == 1 else "keys are"
    return f"{number} {other} set by {origin} (server.api_keys), of scope admin: to be changed there, never shown."


def keyless_line(*, asks: bool) -> str:
    """Say what the first key changes, "" where keys are asked for already."""
    if asks:
        return ""
    return (
        "Nobody is asked for a key now, as only this machine reaches the server. From the first one on everybody is, "
        "this page too: make it one of scope admin, and keep it."
    )


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting; ``note`` says its default where it differs."""

    name: str
    value: str
    note: str
    origin: str
    changed: bool


def setting_rows(settings: Sequence[Setting], words: str = "") -> list[SettingRow]:
    """Give those whose name, value or origin has every word; those that differ from the default first."""
    wanted = words.lower().split()
    rows = [
        SettingRow(
            one.name,
            one.value,
            f"default {one.default}" if one.changed and one.default else "",
            one.origin,
            one.changed,
        )
        for one in settings
        if all(word in f"{one.name} {one.value} {one.origin}".lower() for word in wanted)
    ]
    return sorted(rows, key=lambda row: not row.changed)


def settings_line(rows: Sequence[SettingRow]) -> str:
    """Say how many there are, and how many differ."""
    differ = sum(row.changed for row in rows)
    return f"{count(len(rows), 'setting')}, {differ:,} not as by default"


def storage_facts(use: DiskUse) -> list[tuple[str, str]]:
    """Say what the workspace takes, and what is left."""
    return [
        ("workspace", size(use.total)),
        ("database", size(use.database)),
        ("generations", size(sum(use.generations.values()))),
        ("cache", size(use.cache)),
        ("templates", size(use.templates)),
        *([("other files", size(use.other))] if use.other >= 1000 else []),
        (
            "free on this disk",
            f"{size(use.free)} ({share(use.free / use.size)})" if use.size else "unknown",
        ),
    ]


def room_line(use: DiskUse) -> str:
    """Warn where a backup finds no room on the same disk; "" where it does."""
    if use.size and use.free < use.backed_up:
        room = f"A backup takes about {size(use.backed_up)}, but {size(use.free)} are free"
        return f"{room}: name a folder on another disk."
    return ""


def default_target(workspace: Path, now_ms: int) -> str:
    """Where a backup goes if nobody says otherwise: beside the workspace, named by the minute (UTC)."""
    folder = workspace.resolve()
    return f"{folder}-backup-{datetime.fromtimestamp(now_ms / 1000, UTC):%Y%m%d-%H%M}"


def target_of(text: str) -> Path:
    """Read the folder that somebody typed.

    Raises
    ------
    InputError
        If it is no whole path: what it would be relative to is nothing that the reader of a page sees.
    """
    path = Path(text.strip())
    if not path.is_absolute() or not text.isprintable():
        raise InputError(
            f"Got the folder {shorten(text)}, expected a whole path on the server, such as /var/backups/shop.",
            field="target",
        )
    return path


def restore_line(made: Path) -> str:
    """Say how a backup is brought back.

    >>> restore_line(Path("/srv/my shop"))
    "wayline restore '/srv/my shop' DIR"
    """
    return f"wayline restore {shlex.quote(str(made))} DIR"


def done_line(target: Path, written: int, seconds: float) -> str:
    """Say that a backup was made."""
    return f"Wrote {target}: {size(written)} in {seconds:.1f} s. Bring it back with:"
