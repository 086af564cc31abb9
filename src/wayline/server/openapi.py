"""What OpenAPI says about rows and answers; nothing here runs on a request."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from wayline.recipes import Dial
from wayline.schema import (
    ActionRecord,
    ApiKey,
    Feed,
    Interest,
    ItemMatch,
    Journey,
    Notification,
    RecipeVersion,
    SimilarItem,
)

_TEXT = {"type": "string"}
_TIME = {
    "oneOf": [{"type": "integer"}, {"type": "string", "format": "date-time"}],
    "description": "UTC: seconds or milliseconds since 1970, or ISO-8601",
}

ACTION_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["user_id", "item_id", "ts"],
    "properties": {
        "user_id": _TEXT,
        "item_id": _TEXT,
        "action": {"type": "string", "description": "Its worth stands in [actions]; 0 if not"},
        "ts": _TIME,
        "value": {"type": "number", "description": "Such as a price, a rating, seconds watched"},
        "surface": {"type": "string", "description": "Where it happened, such as home"},
        "request_id": {"type": "string", "description": "The feed that it answers"},
        "query": {"type": "string", "description": "The search that led to it"},
        "board": {"type": "string", "description": "The person's own collection"},
        "action_id": {"type": "string", "description": "Identity; else user, item, action, time"},
    },
}
ACTION_EXAMPLE = [
    {"user_id": "17850", "item_id": "85123A", "action": "buy", "ts": "2011-12-09T12:50:00Z"}
]

ITEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["item_id"],
    "properties": {
        "item_id": _TEXT,
        "title": _TEXT,
        "description": _TEXT,
        "category": _TEXT,
        "tags": {"type": "array", "items": _TEXT},
        "image_url": _TEXT,
        "created_at": _TIME,
        "hidden": {"type": "boolean", "description": "Never shown while true"},
    },
    "additionalProperties": True,
}
ITEM_EXAMPLE = [{"item_id": "85123A", "title": "White hanging heart T-light holder"}]


def rows_body(schema: dict[str, Any], example: list[dict[str, Any]]) -> dict[str, Any]:
    """Describe a body that is an array of rows."""
    media = {"schema": {"type": "array", "items": schema}, "example": example}
    return {"requestBody": {"required": True, "content": {"application/json": media}}}


def object_body(model: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """Describe a body that is one object."""
    media = {"schema": model.model_json_schema(), "example": example}
    return {"requestBody": {"required": True, "content": {"application/json": media}}}


class InterestsReply(BaseModel):
    """A person's interests, most important first."""

    interests: list[Interest]


class InterestChange(BaseModel):
    """What a person says about one of their interests; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", strict=True)

    label: str | None = Field(None, description="Their own name for it; empty: the automatic one")
    muted: bool | None = Field(None, description="Show nothing of it")
    boost: float | None = Field(None, description="0.1 (less) to 10 (more); 1 is as it was")
    reset: bool = Field(False, description="Take back what was said of it, and its feedback")


class JourneysReply(BaseModel):
    """A person's journeys, the best first."""

    journeys: list[Journey]


class JourneyChange(BaseModel):
    """What a person says about one of their journeys; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str | None = Field(None, description="Their own name for it; empty: the automatic one")
    muted: bool | None = Field(None, description="Show nothing of it, and tell nothing of it")
    boost: float | None = Field(None, description="0.1 (less) to 10 (more); 1 is as it was")
    reset: bool = Field(False, description="Take back what was said of it")


class NotificationsReply(BaseModel):
    """What a person would be told now, then what they were told, newest first."""

    notifications: list[Notification]


class ActionsReply(BaseModel):
    """A person's actions, newest first."""

    actions: list[ActionRecord]


class UsersReply(BaseModel):
    """Ids of people that a search found."""

    users: list[str]


class ItemsReply(BaseModel):
    """Items that a search found, the best answer first."""

    items: list[ItemMatch]


class SimilarReply(BaseModel):
    """An item's neighbours, nearest first."""

    items: list[SimilarItem]


class ForgetReply(BaseModel):
    """What was removed, by kind."""

    user_id: str
    removed: dict[str, int]


class KeysReply(BaseModel):
    """All keys ever made, oldest first, without their secrets."""

    keys: list[ApiKey]


class KeyRequest(BaseModel):
    """Who will use a key, and the most that it may do."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(description="For people: 1 to 100 printable characters")
    scope: str = Field("read", description="read, write or admin")


class NewKeyReply(BaseModel):
    """A key just made, and what to send as `X-API-Key`."""

    key: ApiKey
    secret: str


class RecipeReply(BaseModel):
    """The version in use, and every setting of a feed that may be edited."""

    current: RecipeVersion
    dials: list[Dial]


class RecipesReply(BaseModel):
    """All versions of the recipe, oldest first."""

    versions: list[RecipeVersion]


class RecipeRequest(BaseModel):
    """Edits to save, all of them, and why."""

    model_config = ConfigDict(extra="forbid", strict=True)

    edits: dict[str, Any] = Field(description="Settings by the names that `dials` lists; numbers")
    note: str = Field(description="Why, for the others: 1 to 500 characters")
    after: int = Field(ge=0, description="The version that they were made from")


class UndoRequest(BaseModel):
    """Which version the caller looked at."""

    model_config = ConfigDict(extra="forbid", strict=True)

    after: int = Field(ge=0, description="The version in use when the caller looked")


class PreviewRequest(BaseModel):
    """Whose feed to look at, with which edits."""

    model_config = ConfigDict(extra="forbid", strict=True)

    user_id: str
    edits: dict[str, Any] = Field(description="All of them, as they would be saved")
    limit: int | None = Field(None, description="Items of each feed; else feed.limit")


class PreviewReply(BaseModel):
    """A feed as it is, and as it would be."""

    before: Feed
    after: Feed


class HealthReply(BaseModel):
    """How the server is."""

    status: str
    generation: str | None = None
    lag: int | None = None
