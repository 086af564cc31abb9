"""The readable rules: what one action or item must be. They are the reference that the column-wise
checks agree with.

Every row that the column-wise checks are not sure of comes here, so this module alone decides what
is refused and why."""

from __future__ import annotations

import dataclasses
import json
import math
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np

from wayline.clock import DAY_MS
from wayline.errors import BadTimeError, shorten
from wayline.intake.times import NO_ORDER, SlashOrder, read_time

MAX_ID_BYTES = 512
MAX_ACTION_CHARACTERS = 64
DEFAULT_ACTION = "view"
ACTION_TEXTS = {"surface": 512, "request_id": 512, "action_id": 512, "query": 4096, "board": 512}
ITEM_TEXTS = {"title": 8192, "description": 1 << 20, "category": 512, "image_url": 8192}
MAX_ATTRIBUTES_BYTES = 1 << 20
MAX_TAGS = 1000

_TRUE, _FALSE = {"true", "1", "yes", "y", "t"}, {"false", "0", "no", "n", "f", ""}


class RowRefusedError(Exception):
    """A row breaks a rule; carries the field and the reason for its `Rejection`."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field, self.reason = field, reason


def text_of(
    value: object, field: str, *, limit_bytes: int = MAX_ID_BYTES, lines: bool = False
) -> str | None:
    """A value as text, or None where there is none.

    Whole numbers become decimal text (17850 and 17850.0 are both ``"17850"``: a column with gaps
    turns whole numbers into floats); control characters are refused, except line breaks and tabs
    where ``lines`` allows them.

    Raises
    ------
    RowRefusedError
        If it is neither text nor a whole number, too long, or holds control characters.
    """
    if value is None:
        return None
    if type(value) is str and len(value) * 4 <= limit_bytes and value.isprintable():
        return value if value.strip() else None  # nearly everything ends here
    if isinstance(value, bytes):  # a Parquet column of bytes that nobody called text
        value = value.decode(errors="surrogateescape")
    elif not isinstance(value, str):
        value = _number_text(value, field)
        if value is None:
            return None
    if not value.strip():
        return None
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise RowRefusedError(
            field, f"{field} {shorten(value)} is not valid Unicode: send UTF-8"
        ) from None
    if size > limit_bytes:
        raise RowRefusedError(
            field,
            f"{field} is {size:,} bytes long, the limit is {limit_bytes:,}: got {shorten(value)}",
        )
    if not value.isprintable():  # cheap, and true of nearly everything
        _refuse_control(value, field, "\n\r\t" if lines else "")
    return value


def id_of(value: object, field: str) -> str:
    """A user or item id as text; missing ones are refused."""
    text = text_of(value, field)
    if text is None:
        raise RowRefusedError(field, f"{field} is missing: every row needs one")
    return text


def action_name_of(value: object) -> str:
    """An action's name, at most 64 characters; a row that names none is a ``view``."""
    text = text_of(value, "action", limit_bytes=1 << 20)
    name = DEFAULT_ACTION if text is None else text.strip()
    if len(name) > MAX_ACTION_CHARACTERS:
        raise RowRefusedError(
            "action",
            f"action {shorten(name)} is longer than {MAX_ACTION_CHARACTERS} characters: use a "
            f"short name such as click",
        )
    return name


def number_of(value: object, field: str) -> float | None:
    """A finite number, or None where there is none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, bool) or not isinstance(value, (Real, Decimal, str)):
        raise RowRefusedError(field, f"{field} {shorten(value)} is not a number")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise RowRefusedError(field, f"{field} {shorten(value)} is not a number") from None
    if not math.isfinite(number):
        raise RowRefusedError(field, f"{field} is {number}: expected a finite number")
    return number


def time_of(
    value: object, field: str, *, latest_ts_ms: int | None = None, order: SlashOrder = NO_ORDER
) -> int | None:
    """A time in UTC milliseconds, or None where there is none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        ts_ms = read_time(value, order)
    except BadTimeError as error:
        raise RowRefusedError(field, error.message) from None
    if latest_ts_ms is not None and ts_ms > latest_ts_ms:
        raise RowRefusedError(
            field,
            f"{field} {shorten(value)} is more than a day in the future: check its unit and zone",
        )
    return ts_ms


def check_action(
    row: Mapping[str, object], *, now_ts_ms: int, order: SlashOrder = NO_ORDER
) -> dict[str, Any]:
    """One action by its roles -> the same with clean values.

    Raises
    ------
    RowRefusedError
        With the first field that breaks a rule, in the order user, item, time, action, value,
        texts.
    """
    clean: dict[str, Any] = {
        "user_id": id_of(row.get("user_id"), "user_id"),
        "item_id": id_of(row.get("item_id"), "item_id"),
    }
    ts_ms = time_of(row.get("ts"), "ts", latest_ts_ms=now_ts_ms + DAY_MS, order=order)
    if ts_ms is None:
        raise RowRefusedError("ts", "ts is missing: every action needs a time")
    clean["ts_ms"] = ts_ms
    clean["action"] = action_name_of(row.get("action"))
    if "value" in row:
        clean["value"] = number_of(row["value"], "value")
    for name, limit_bytes in ACTION_TEXTS.items():
        if name in row:
            clean[name] = text_of(row[name], name, limit_bytes=limit_bytes)
    return clean


def check_item(
    row: Mapping[str, object], extra: Mapping[str, object], *, order: SlashOrder = NO_ORDER
) -> dict[str, Any]:
    """One item by its roles, with its other columns -> the same with clean values (vectors are
    checked elsewhere).

    Raises
    ------
    RowRefusedError
        With the first field that breaks a rule.
    """
    clean: dict[str, Any] = {"item_id": id_of(row.get("item_id"), "item_id")}
    for name, limit_bytes in ITEM_TEXTS.items():
        clean[name] = text_of(row.get(name), name, limit_bytes=limit_bytes, lines=True)
    clean["tags"] = tags_of(row.get("tags"))
    clean["created_ts_ms"] = time_of(row.get("created_ts_ms"), "created_ts_ms", order=order)
    clean["hidden"] = flag_of(row.get("hidden"), "hidden")
    clean["attributes"] = attributes_of(row.get("attributes"), extra)
    return clean


def tags_of(value: object) -> list[str] | None:
    """Tags from a list, a JSON list, or a text separated by ``|`` or, without one, by ``,``; None: nothing said."""
    if value is None:
        return None
    if isinstance(value, str):
        value = _split_tags(value)
    if isinstance(value, (Mapping, bytes)) or not isinstance(value, Iterable):
        raise RowRefusedError(
            "tags", f"tags {shorten(value)} is neither a list nor a text separated by | or ,"
        )
    tags = [text for each in value if (text := text_of(each, "tags")) is not None]
    if len(tags) > MAX_TAGS:
        raise RowRefusedError("tags", f"{len(tags):,} tags, the limit is {MAX_TAGS:,}")
    return list(dict.fromkeys(tag.strip() for tag in tags))


def flag_of(value: object, field: str) -> bool | None:
    """A yes or no; an empty text is no, None where nothing is said."""
    if value is None:
        return None
    word = str(int(value) if isinstance(value, float) and value.is_integer() else value)
    word = word.strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise RowRefusedError(field, f"{field} {shorten(value)} is neither true nor false")


def attributes_of(value: object, extra: Mapping[str, object]) -> str | None:
    """The attributes column (an object or its JSON text) and all other columns, as one JSON
    text.
    """
    if value is None and not extra:
        return None
    merged: dict[str, object] = {}
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except ValueError:
            raise RowRefusedError(
                "attributes", f"attributes {shorten(value)} is not JSON"
            ) from None
    if isinstance(value, Mapping):
        merged.update(value)
    elif value is not None and value != "":
        raise RowRefusedError("attributes", f"attributes {shorten(value)} is not an object")
    merged.update({name: each for name, each in extra.items() if each is not None and each != ""})
    if not merged:
        return None
    try:
        text = _JSON.encode(merged)
        size = len(text.encode())
    except (ValueError, TypeError, RecursionError) as error:
        reason = str(error).replace("\n", " ")
        raise RowRefusedError(
            "attributes", f"attributes cannot be kept as JSON: {reason}"
        ) from None
    if size > MAX_ATTRIBUTES_BYTES:
        raise RowRefusedError(
            "attributes",
            f"attributes are {size:,} bytes long, the limit is {MAX_ATTRIBUTES_BYTES:,}",
        )
    return text


def as_mapping(row: object) -> Mapping[str, object] | None:
    """A row handed in as a mapping, a dataclass instance or a named tuple; None if it is none of
    these.
    """
    if isinstance(row, Mapping):
        return row
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    if isinstance(row, tuple) and hasattr(row, "_asdict"):
        named: Mapping[str, object] = row._asdict()
        return named
    return None


def _refuse_control(value: str, field: str, allowed: str) -> None:
    """Refuse a text that holds a control character (Unicode category Cc)."""
    for character in value:
        if unicodedata.category(character) == "Cc" and character not in allowed:
            raise RowRefusedError(
                field,
                f"{field} holds the control character U+{ord(character):04X}: "
                f"remove it from {shorten(value)}",
            )


def _number_text(value: object, field: str) -> str | None:
    if isinstance(value, (bool, np.bool_)):
        pass
    elif isinstance(value, Integral):
        return str(int(value))
    elif isinstance(value, Decimal):
        if value.is_finite() and value == value.to_integral_value():
            return str(int(value))
    elif isinstance(value, Real):
        number = float(value)
        if math.isnan(number):
            return None
        if number.is_integer() and abs(number) < 2**53:
            return str(int(number))
    raise RowRefusedError(field, f"{field} {shorten(value)} is neither text nor a whole number")


def _split_tags(text: str) -> list[object]:
    stripped = text.strip()
    if stripped.startswith("["):
        try:
            parsed = json.loads(stripped)
        except ValueError:
            parsed = None
        if isinstance(parsed, list):
            return parsed
    return [part.strip() for part in stripped.split("|" if "|" in stripped else ",")]


def _jsonable(value: object) -> object:
    """What ``json`` does not know: times as ISO, numpy scalars as numbers, the rest as text."""
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    item = getattr(value, "item", None)
    return item() if callable(item) else str(value)


_JSON = json.JSONEncoder(ensure_ascii=False, default=_jsonable, allow_nan=False)
