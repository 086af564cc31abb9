"""What one person likes, gets, did, and takes away."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator

from wayline.clock import to_ts_ms
from wayline.errors import BadTimeError
from wayline.schema import Feed, Interest, Journey
from wayline.server.body import body_of
from wayline.server.middleware import Id
from wayline.server.openapi import (
    ActionsReply,
    ForgetReply,
    InterestChange,
    InterestsReply,
    JourneyChange,
    JourneysReply,
    NotificationsReply,
    UsersReply,
    object_body,
)
from wayline.server.replies import reply

everybody = APIRouter(prefix="/v1/users", tags=["users"])
router = APIRouter(prefix="/v1/users/{user_id}", tags=["users"])


def _time(value: str | None) -> str | None:
    if value is not None:
        try:
            to_ts_ms(value)
        except BadTimeError:
            raise ValueError(
                "a time: milliseconds since 1970, or ISO-8601 such as 2026-01-31T12:00:00Z"
            ) from None
    return value


At = Annotated[
    str | None,
    Query(description="As of then: ISO-8601 or milliseconds. Later actions are not seen."),
    AfterValidator(_time),
]


def _ts_ms(at: str | None) -> int | None:
    return None if at is None else to_ts_ms(at)


@everybody.get("", summary="Find people", response_model=UsersReply)
def search(
    request: Request,
    query: str = Query("", max_length=200, description="A part of an id"),
    limit: int = Query(20, ge=1, le=500, description="At most"),
) -> Response:
    """Find people by a part of their id, those whose id begins with it first; without a query who acted last."""
    return reply({"users": request.app.state.engine.people(query, limit=limit)})


@router.get("/feed", summary="What to show next", response_model=Feed)
def feed(
    request: Request,
    user_id: Id,
    *,
    limit: Annotated[int | None, Query(ge=1, le=500, description="At most")] = None,
    cursor: Annotated[str | None, Query(description="From the feed before: the next page")] = None,
    surface: Annotated[str | None, Query(description="Where it is shown, such as home")] = None,
    journey: Annotated[str | None, Query(description="The feed of this journey alone")] = None,
    at: At = None,
) -> Response:
    """Give a person's feed, best first, with a reason for every item.

    Send `request_id` back with the actions that the feed leads to. An unknown person gets what is
    trending and new.
    """
    started = time.perf_counter()
    answer = request.app.state.engine.feed(
        user_id, limit=limit, at=_ts_ms(at), surface=surface, cursor=cursor, journey=journey
    )
    request.app.state.metrics.observe_feed(answer, started)
    return reply(answer)


@router.get("/interests", summary="What a person is interested in", response_model=InterestsReply)
def interests(request: Request, user_id: Id, at: At = None) -> Response:
    """Give a person's interests, most important first; none for an unknown person."""
    return reply({"interests": request.app.state.engine.interests(user_id, at=_ts_ms(at))})


@router.patch(
    "/interests/{interest_id}",
    summary="Steer an interest",
    response_model=Interest,
    openapi_extra=object_body(InterestChange, {"muted": True}),
)
def change_interest(
    request: Request,
    user_id: Id,
    interest_id: Id,
    change: Annotated[InterestChange, body_of(InterestChange)],
) -> Response:
    """Rename, mute, boost or reset an interest; it holds from the next feed on.

    To turn a single item down, send an action called `not_interested`.
    """
    engine = request.app.state.engine
    return reply(engine.change_interest(user_id, interest_id, **change.model_dump()))


@router.get("/journeys", summary="What journeys a person is on", response_model=JourneysReply)
def journeys(
    request: Request,
    user_id: Id,
    limit: Annotated[int | None, Query(ge=1, le=500, description="At most")] = None,
    at: At = None,
) -> Response:
    """Give a person's journeys, the best first; none for an unknown person."""
    engine = request.app.state.engine
    return reply({"journeys": engine.journeys(user_id, at=_ts_ms(at), limit=limit)})


@router.patch(
    "/journeys/{journey_id}",
    summary="Steer a journey",
    response_model=Journey,
    openapi_extra=object_body(JourneyChange, {"muted": True}),
)
def change_journey(
    request: Request,
    user_id: Id,
    journey_id: Id,
    change: Annotated[JourneyChange, body_of(JourneyChange)],
) -> Response:
    """Rename, mute, boost or reset a journey; it holds from the next answer on."""
    engine = request.app.state.engine
    return reply(engine.change_journey(user_id, journey_id, **change.model_dump()))


@router.get(
    "/notifications",
    summary="What a person is told",
    response_model=NotificationsReply,
)
def notifications(request: Request, user_id: Id, at: At = None) -> Response:
    """Give what the person would be told now (`planned`), then what they were told, newest first."""
    found = request.app.state.engine.notifications(user_id, at=_ts_ms(at))
    return reply({"notifications": found})


@router.get("/actions", summary="What a person did", response_model=ActionsReply)
def actions(
    request: Request,
    user_id: Id,
    limit: Annotated[int, Query(ge=1, le=20_000, description="At most")] = 100,
    at: At = None,
) -> Response:
    """Give a person's actions, newest first."""
    records = request.app.state.engine.actions(user_id, limit=limit, at=_ts_ms(at))
    return reply({"actions": records})


@router.get(
    "/export", summary="All that is stored about a person", response_model=dict[str, object]
)
def export(request: Request, user_id: Id) -> Response:
    """Give everything the workspace holds about a person, to hand out."""
    return reply(request.app.state.engine.export(user_id))


@router.delete("", summary="Forget a person", response_model=ForgetReply)
def forget(request: Request, user_id: Id) -> Response:
    """Remove a person everywhere; the answer counts what was removed."""
    return reply({"user_id": user_id, "removed": request.app.state.engine.forget(user_id)})
