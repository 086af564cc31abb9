"""Every setting of a workspace for people to read: its value, its default, and where it came from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

from wayline.config import SECRET, SECRETS, Config, Resolved

DEFAULT = "default"
NEVER_SHOWN = SECRET | SECRETS | {("server", "api_keys")}
ADDRESSES = {("llm", "base_url"), ("notifications", "webhook_url")}
"""May hold a password or a token: only scheme, host and port are shown."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes
    ----------
    name : str
        ``section.key``; an entry of a table has its own: ``actions.buy``, ``feed.weights.buy``.
    value, default : str
        As ``wayline.toml`` writes them; ``default`` is empty where there is none. Of a secret: "set" or "not set".
    origin : str
        "default", the file's name, the environment variable, or "config=" for what a program passed.
    """

    name: str
    value: str
    default: str
    origin: str

    @property
    def changed(self) -> bool:
        """Whether it is not as it is by default."""
        return self.value != self.default


def list_settings(resolved: Resolved) -> list[Setting]:
    """Give every setting in the order of the sections; no secret is in it."""
    return [
        Setting(name, value, default, resolved.origins.get(name, DEFAULT))
        for name, value, default in _values(resolved.config)
    ]


def _values(config: Config) -> Iterator[tuple[str, str, str]]:
    """Name, value and default of each."""
    plain = Config()
    for section in (part.name for part in fields(Config)):
        mine, default = getattr(config, section), getattr(plain, section)
        if isinstance(mine, Mapping):  # [actions]
            yield from _entries(section, mine)
            continue
        for key in (one.name for one in fields(mine)):
            value, usual = getattr(mine, key), getattr(default, key)
            if not isinstance(value, Mapping):
                yield f"{section}.{key}", _shown(section, key, value), _shown(section, key, usual)
            elif key == "pins":  # what stands in [recipe] beside its mode
                yield from _entries(section, value)
            else:
                yield from _entries(f"{section}.{key}", value)


def _entries(name: str, table: Mapping[str, float]) -> Iterator[tuple[str, str, str]]:
    """The entries of a table with names of the user's own, which have no default."""
    return ((f"{name}.{key}", _toml(value), "") for key, value in table.items())


def _shown(section: str, key: str, value: Any) -> str:
    if (section, key) in NEVER_SHOWN:
        if isinstance(value, tuple):
            return f"{len(value)} set" if value else "not set"
        return "set" if value else "not set"
    if (section, key) in ADDRESSES and value:
        return _toml(_host(value))
    return _toml(value)


def _host(address: str) -> str:
    """An address without what may be secret in it.

    >>> _host("https://bot:pw@hooks.example:8443/T01/secret?key=1"), _host("nonsense")
    ('https://hooks.example:8443/…', '…')
    """
    try:
        parts = urlsplit(address)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "…"
    more = "/…" if parts.path.strip("/") or parts.query or parts.fragment else parts.path
    return f"{parts.scheme}://{parts.hostname}{port}{more}" if parts.hostname else "…"


def _toml(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"{value:.0f}"
    if isinstance(value, (str, list, tuple)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
