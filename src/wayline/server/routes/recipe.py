"""What the team set over the recipe that builds find: read, saved, taken back, and looked at before."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response

from wayline.schema import RecipeVersion, Variant
from wayline.server.body import body_of
from wayline.server.openapi import (
    PreviewReply,
    PreviewRequest,
    RecipeReply,
    RecipeRequest,
    RecipesReply,
    UndoRequest,
    object_body,
)
from wayline.server.replies import reply

router = APIRouter(prefix="/v1/recipe", tags=["recipe"])
EDITS = {"feed.diversity": 0.4}
SAVE = {"edits": EDITS, "note": "less of the same", "after": 0}


@router.get("", summary="What feeds are made by", response_model=RecipeReply)
def get_recipe(request: Request) -> Response:
    """Give the version in use, and every setting of a feed that may be edited, with who gave it its value."""
    engine = request.app.state.engine
    return reply({"current": engine.recipes.current(), "dials": engine.dials()})


@router.get("/versions", summary="All versions of the recipe", response_model=RecipesReply)
def list_recipes(request: Request) -> Response:
    """Give all versions ever saved, oldest first; nothing is ever changed or removed."""
    return reply({"versions": request.app.state.engine.recipes.versions()})


@router.post(
    "",
    summary="Save a version of the recipe",
    response_model=RecipeVersion,
    openapi_extra=object_body(RecipeRequest, SAVE),
)
def save_recipe(
    request: Request, wanted: Annotated[RecipeRequest, body_of(RecipeRequest)]
) -> Response:
    """Make these the edits in use, from the next feed on; `after` is the version that they were made from.

    All of them: what `edits` does not name is as the build and `wayline.toml` have it. Answers 409 where somebody saved
    another version meanwhile.
    """
    saved = request.app.state.engine.recipes.save(
        wanted.edits, note=wanted.note, after=wanted.after, author=_author(request)
    )
    return reply(saved)


@router.post(
    "/undo",
    summary="Take the newest version back",
    response_model=RecipeVersion,
    openapi_extra=object_body(UndoRequest, {"after": 1}),
)
def undo_recipe(request: Request, wanted: Annotated[UndoRequest, body_of(UndoRequest)]) -> Response:
    """Take the newest version back that was not taken back yet: it adds a version with the edits from before."""
    return reply(request.app.state.engine.recipes.undo(after=wanted.after, author=_author(request)))


@router.post(
    "/preview",
    summary="A feed before and after edits",
    response_model=PreviewReply,
    openapi_extra=object_body(PreviewRequest, {"user_id": "17850", "edits": EDITS}),
)
def preview_recipe(
    request: Request, wanted: Annotated[PreviewRequest, body_of(PreviewRequest)]
) -> Response:
    """Give a person's feed as it is now, and as it would be with these edits; nothing is kept."""
    before, after = request.app.state.engine.compare_feeds(
        wanted.user_id, Variant(), Variant(edits=wanted.edits), limit=wanted.limit
    )
    return reply({"before": before, "after": after})


def _author(request: Request) -> str:
    grant = request.state.grant
    return "" if grant is None else str(grant.name)
