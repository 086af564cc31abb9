"""Is it up, and can it answer well?"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from wayline.errors import WaylineError
from wayline.server.errors import ErrorReply, error_reply
from wayline.server.openapi import HealthReply
from wayline.server.replies import reply

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live", summary="The process answers", response_model=HealthReply)
async def live() -> Response:
    """Say that the process answers; asks nothing of the workspace."""
    return reply({"status": "live"})


@router.get(
    "/ready",
    summary="Feeds can be answered",
    response_model=HealthReply,
    responses={503: {"model": ErrorReply, "description": "Not yet, and why"}},
)
def ready(request: Request) -> Response:
    """Say whether there is a generation to answer from, or why not."""
    try:
        stats = request.app.state.engine.stats()
    except WaylineError as error:
        return error_reply(503, error.code, error.message)
    if stats["generation"] is None:
        cure = (
            "ask for a feed, or run `wayline build`"
            if stats["actions"]
            else "send actions to POST /v1/actions, or run `wayline import`"
        )
        return error_reply(503, "no_generation", f"Nothing has been built yet: {cure}.")
    return reply({"status": "ready", "generation": stats["generation"], "lag": stats["lag"]})
