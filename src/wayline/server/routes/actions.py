"""What people do."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from wayline.schema import Receipt
from wayline.server.body import read_rows
from wayline.server.openapi import ACTION_EXAMPLE, ACTION_SCHEMA, rows_body
from wayline.server.replies import reply

router = APIRouter(prefix="/v1", tags=["actions"])


@router.post(
    "/actions",
    summary="Append actions",
    response_model=Receipt,
    openapi_extra=rows_body(ACTION_SCHEMA, ACTION_EXAMPLE),
)
async def add_actions(request: Request) -> Response:
    """Append an array of actions to the log.

    The answer comes when the accepted rows are on disk; the very next feed sees them. Sending a row
    again is harmless: it counts as a duplicate. A refused row is listed with its place and the
    reason; the others are kept.
    """
    rows = await read_rows(request)
    receipt = await run_in_threadpool(request.app.state.engine.add_actions, rows)
    request.app.state.metrics.observe_receipt("actions", receipt)
    return reply(receipt)
