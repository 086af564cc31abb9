"""Every failure leaves as ``{"error": {"code", "message", "field"}}``, without a stack trace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from wayline.errors import WaylineError, shorten
from wayline.server.replies import reply


class ErrorDetail(BaseModel):
    """What is wrong, where, and the cure."""

    code: str
    message: str
    field: str | None = None


class ErrorReply(BaseModel):
    """The shape of every error."""

    error: ErrorDetail


def error_reply(
    status: int, code: str, message: str, field: str | None = None, **headers: str
) -> Response:
    """One error, as the contract has it."""
    body = {"error": {"code": code, "message": message, "field": field}}
    return reply(body, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})


def install(app: FastAPI) -> None:
    """Give ``app`` one handler for each way a request can fail."""
    app.add_exception_handler(WaylineError, _wayline)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


async def _wayline(request: Request, error: Exception) -> Response:
    assert isinstance(error, WaylineError)
    headers = {"WWW_Authenticate": "API-Key"} if error.http_status == 401 else {}
    if request.method in ("POST", "PATCH"):
        # The body may not have been read to its end: the connection cannot carry another request.
        headers["Connection"] = "close"
    return error_reply(error.http_status, error.code, error.message, error.field, **headers)


async def _validation(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first: Any = error.errors()[0]
    field = _field_path(first["loc"])
    wanted = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    message = f"Got {field} = {shorten(first.get('input'))}, expected {wanted}."
    return error_reply(400, "bad_input", message, field)


def _field_path(location: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in location[1:]) or str(location[0])


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = shorten(request.url.path)
    if error.status_code == 404:
        message = f"There is no {path} here: see /docs for what there is; write / in an id as %2F."
        return error_reply(404, "not_found", message)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow") or "another method"
        message = f"{path} does not take {request.method}: use {allowed}."
        return error_reply(405, "not_allowed", message, Allow=allowed)
    return error_reply(error.status_code, "bad_input", f"{error.detail}.")


async def _unexpected(_request: Request, _error: Exception) -> Response:
    # Starlette raises it again after the reply, so that the server's own log has the trace.
    message = "The server failed; the request itself may be right: see the server's log."
    return error_reply(500, "internal", message)
