"""Which scope a key needs for which call: all of it, in one table."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request

from wayline.access import Scope

NEEDS = {
    "GET /v1/users": Scope.READ,
    "GET /v1/users/{user_id}/feed": Scope.READ,
    "GET /v1/users/{user_id}/interests": Scope.READ,
    "GET /v1/users/{user_id}/journeys": Scope.READ,
    "GET /v1/users/{user_id}/notifications": Scope.READ,
    "GET /v1/users/{user_id}/actions": Scope.READ,
    "GET /v1/users/{user_id}/export": Scope.READ,
    "GET /v1/requests/{request_id}": Scope.READ,
    "GET /v1/items": Scope.READ,
    "GET /v1/items/{item_id}": Scope.READ,
    "GET /v1/items/{item_id}/similar": Scope.READ,
    "GET /v1/recipe": Scope.READ,
    "GET /v1/recipe/versions": Scope.READ,
    "POST /v1/recipe/preview": Scope.READ,
    "GET /metrics": Scope.READ,
    "POST /v1/actions": Scope.WRITE,
    "PATCH /v1/users/{user_id}/interests/{interest_id}": Scope.WRITE,
    "PATCH /v1/users/{user_id}/journeys/{journey_id}": Scope.WRITE,
    "POST /v1/items": Scope.ADMIN,
    "DELETE /v1/users/{user_id}": Scope.ADMIN,
    "POST /v1/recipe": Scope.ADMIN,
    "POST /v1/recipe/undo": Scope.ADMIN,
    "GET /v1/keys": Scope.ADMIN,
    "POST /v1/keys": Scope.ADMIN,
    "DELETE /v1/keys/{key_id}": Scope.ADMIN,
}
"""A call that is not named here needs ``admin``: forgetting to name one closes it, and a test says so."""


def call_of(request: Request) -> str:
    """The call as ``NEEDS`` names it: method and the route's pattern."""
    return f"{request.method} {getattr(request.scope.get('route'), 'path_format', '')}"


def scope_for(call: str) -> Scope:
    """The scope that a call needs.

    >>> str(scope_for("GET /metrics")), str(scope_for("PUT /v1/something/new"))
    ('read', 'admin')
    """
    return NEEDS.get(call, Scope.ADMIN)


def say_in_openapi(app: FastAPI) -> None:
    """Let the description of each call that asks for a key end with the scope that the key needs."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            for path, methods in plain()["paths"].items():
                for method, operation in methods.items():
                    if "security" in operation:
                        scope = scope_for(f"{method.upper()} {path}")
                        text = operation.get("description", "")
                        operation["description"] = (
                            f"{text}\n\nNeeds a key of scope `{scope}`, where keys are set."
                        )
        return plain()

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's own way to extend it
