"""Who may call."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response

from wayline.errors import NotAllowedError
from wayline.schema import ApiKey
from wayline.server.body import body_of
from wayline.server.middleware import Id
from wayline.server.openapi import KeyRequest, KeysReply, NewKeyReply, object_body
from wayline.server.replies import reply

router = APIRouter(prefix="/v1/keys", tags=["keys"])
EXAMPLE = {"name": "shop-backend", "scope": "write"}


@router.get("", summary="The workspace's keys", response_model=KeysReply)
def list_keys(request: Request) -> Response:
    """Give all keys ever made, oldest first, without their secrets; those with `revoked_at` count no more."""
    return reply({"keys": request.app.state.engine.access.list_keys()})


@router.post(
    "",
    summary="Make a key",
    response_model=NewKeyReply,
    openapi_extra=object_body(KeyRequest, EXAMPLE),
)
def create_key(request: Request, wanted: Annotated[KeyRequest, body_of(KeyRequest)]) -> Response:
    """Make a key. Its `secret` is in this answer and nowhere else: it is not kept, and cannot be shown again.

    The first key of a server that asks for none is made with `wayline keys create`.
    """
    if request.state.grant is None:
        # Whoever reaches a server without keys may use it, but not give themselves a key that outlasts that.
        raise NotAllowedError(
            "A caller without a key cannot make one: make the first with `wayline keys create NAME --scope admin`."
        )
    made = request.app.state.engine.access.create_key(wanted.name, wanted.scope)
    return reply({"key": made.key, "secret": made.secret}, headers={"Cache-Control": "no-store"})


@router.delete("/{key_id}", summary="Revoke a key", response_model=ApiKey)
def revoke_key(request: Request, key_id: Id) -> Response:
    """Let a key count no more: at once here, and within a second in other servers over the workspace."""
    return reply(request.app.state.engine.access.revoke_key(key_id))
