"""What there is."""

from __future__ import annotations

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from wayline.schema import ItemRecord, Receipt
from wayline.server.body import read_rows
from wayline.server.middleware import Id
from wayline.server.openapi import ITEM_EXAMPLE, ITEM_SCHEMA, ItemsReply, SimilarReply, rows_body
from wayline.server.replies import reply

router = APIRouter(prefix="/v1", tags=["items"])


@router.post(
    "/items",
    summary="Add or change items",
    response_model=Receipt,
    openapi_extra=rows_body(ITEM_SCHEMA, ITEM_EXAMPLE),
)
async def add_items(request: Request) -> Response:
    """Add an array of items, or change those that are there.

    An item that comes again replaces the one before; one that did not change counts as a duplicate.
    """
    rows = await read_rows(request)
    receipt = await run_in_threadpool(request.app.state.engine.add_items, rows)
    request.app.state.metrics.observe_receipt("items", receipt)
    return reply(receipt)


@router.get("/items", summary="Find items", response_model=ItemsReply)
def search(
    request: Request,
    query: str = Query(
        "", max_length=200, description="Words of title, category or tags, or an id"
    ),
    limit: int = Query(50, ge=1, le=50, description="At most"),
) -> Response:
    """Find items by words or by id, the best answer first; without a query those acted on most lately."""
    return reply({"items": request.app.state.engine.catalogue.search(query, limit=limit)})


@router.get("/items/{item_id}", summary="One item", response_model=ItemRecord)
def item(request: Request, item_id: Id) -> Response:
    """Give an item as it stands in the catalogue."""
    return reply(request.app.state.engine.item(item_id))


@router.get("/items/{item_id}/similar", summary="Items like this one", response_model=SimilarReply)
def similar(
    request: Request, item_id: Id, limit: int = Query(10, ge=1, le=1000, description="At most")
) -> Response:
    """Give the nearest items by embedding, nearest first."""
    return reply({"items": request.app.state.engine.similar(item_id, limit=limit)})
