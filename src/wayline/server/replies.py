"""Records to JSON, once, in Rust: no model is built per row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.responses import Response
from pydantic_core import to_json


def reply(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with ``content`` (records, dicts, lists, numpy) as JSON, NaN and infinity as null."""
    body = to_json(content, inf_nan_mode="null", fallback=_plain)
    return Response(body, status, dict(headers or {}), "application/json")


def _plain(value: Any) -> Any:
    """Turn numpy scalars and arrays into what JSON has."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
