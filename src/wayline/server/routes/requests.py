"""Why a feed was what it was."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from wayline.server.middleware import Id
from wayline.server.replies import reply

router = APIRouter(prefix="/v1/requests", tags=["requests"])


@router.get("/{request_id}", summary="Explain a feed", response_model=dict[str, object])
def explain(request: Request, request_id: Id) -> Response:
    """Give the whole decision behind a feed, and the actions that answered it.

    Interests with their odds, candidates by source, what each filter removed, every score in parts.
    """
    return reply(request.app.state.engine.explain(request_id))
