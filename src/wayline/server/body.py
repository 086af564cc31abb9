"""Reading a request's body: after its key was checked, bounded before it is parsed, parsed once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.requests import ClientDisconnect

from wayline.config import ServerConfig
from wayline.errors import InputError, TooLargeError, shorten

MB = 1_000_000
LINGER_S = 2.0
LINGER_BYTES = 256 * MB


async def read_rows(request: Request) -> list[Any]:
    """Read the body as a JSON array of at most ``server.max_rows`` rows.

    The rows stay what JSON made of them; intake judges each and answers row by row. The parser is
    the one that comes with FastAPI's own dependency (Rust, about 1 ms for 500 actions).

    Raises
    ------
    TooLargeError
        If the body passes ``server.max_body_mb`` (by its declared length, or while it streams in:
        the rest is thrown away) or the array passes ``server.max_rows``.
    InputError
        If the body is not JSON (NaN and infinity are not), not an array, or compressed.
    """
    settings: ServerConfig = request.app.state.settings
    rows = parse(await _read(request, settings))
    if len(rows) > settings.max_rows:
        raise TooLargeError(
            f"Got {len(rows):,} rows, expected at most {settings.max_rows:,} in one request: "
            "send smaller batches, or raise server.max_rows."
        )
    return rows


def body_of(model: type[BaseModel]) -> Any:
    """Give a dependency that reads the body as one object of a model.

    A parameter that FastAPI reads by itself is read whole, whatever its size, before the request's key is checked.

    Raises
    ------
    TooLargeError
        If the body passes ``server.max_body_mb``.
    InputError
        If the body is not JSON, or compressed.
    RequestValidationError
        If it is not what the model says.
    """

    async def read(request: Request) -> BaseModel:
        body = await _read(request, request.app.state.settings)
        try:
            return model.model_validate(from_json(body, allow_inf_nan=False))
        except ValidationError as error:
            wrong = [{**one, "loc": ("body", *one["loc"])} for one in error.errors()]
            raise RequestValidationError(wrong) from None
        except ValueError as error:
            message = f"The body is not JSON ({error}): send an object."
            raise InputError(message, field="body") from None

    return Depends(read)


def parse(body: bytes) -> list[Any]:
    """Parse a JSON array.

    >>> parse(b'[{"user_id": "ann"}]')
    [{'user_id': 'ann'}]
    """
    try:
        rows = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise InputError(f"The body is not JSON ({error}): send an array of objects.") from None
    if not isinstance(rows, list):
        raise InputError(
            f"Got {_kind(rows)}, expected an array of objects: put [ ] around a single row."
        )
    return rows


async def _read(request: Request, settings: ServerConfig) -> bytes:
    limit_bytes = int(settings.max_body_mb * MB)
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise InputError(
            f"Got a body in {shorten(encoding)}, expected plain JSON: send it uncompressed."
        )
    declared = request.headers.get("content-length", "0")
    stream = request.stream()
    if declared.isdecimal() and int(declared) > limit_bytes:
        await _let_finish(stream)
        raise _too_large(settings)
    chunks: list[bytes] = []
    size_bytes = 0
    async for chunk in stream:
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            await _let_finish(stream)
            raise _too_large(settings)
        chunks.append(chunk)
    return b"".join(chunks)


async def _let_finish(stream: AsyncIterator[bytes]) -> None:
    """Throw away what a client is still sending, for a moment, keeping nothing.

    Closing on a client in the middle of its body resets the connection, and the answer is lost with it: most clients
    read only when they have sent everything.
    """
    thrown_bytes = 0
    try:
        async with asyncio.timeout(LINGER_S):
            async for chunk in stream:
                thrown_bytes += len(chunk)
                if thrown_bytes > LINGER_BYTES:
                    return
    except (TimeoutError, ClientDisconnect):
        return  # too slow, or gone


def _too_large(settings: ServerConfig) -> TooLargeError:
    return TooLargeError(
        f"The body is larger than {settings.max_body_mb:g} MB: send smaller batches, "
        "or raise server.max_body_mb."
    )


def _kind(value: Any) -> str:
    names = {dict: "an object", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
