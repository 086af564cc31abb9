"""The application: which routes, behind which key check, with which middleware."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import Depends, FastAPI

import wayline
from wayline.config import Config
from wayline.server import docs, errors, scopes
from wayline.server.guard import Door, check_request
from wayline.server.metrics import Metrics
from wayline.server.middleware import EdgeMiddleware
from wayline.server.routes import actions, health, items, keys, metrics, recipe, requests, users
from wayline.studio import mount

if TYPE_CHECKING:
    from wayline.engine import Engine

DESCRIPTION = (
    "Send what people do (`POST /v1/actions`) and what there is (`POST /v1/items`); ask for a "
    "person's feed and interests. What was acknowledged is on disk and is seen by the very next "
    "request. Ids are texts: write `/` in one as `%2F`. "
    'Every error is `{"error": {"code", "message", "field"}}`.'
)


def create_app(engine: Engine, config: Config | None = None, *, keyless: bool = True) -> FastAPI:
    """Build the REST API over an open engine; the caller keeps the engine and closes it.

    Parameters
    ----------
    engine : Engine
        An open workspace. All its methods are thread-safe; reads run in the server's thread pool.
    config : Config, optional
        Keys and limits (``config.server``); the engine's own if not given.
    keyless : bool
        Whether everybody may call while there is no key at all: False where others than this machine can reach it.
    """
    app = FastAPI(
        title="wayline",
        version=wayline.__version__,
        description=DESCRIPTION,
        # FastAPI's own pages load scripts from elsewhere; ours works without a network.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # an id may end in a slash; a redirect would turn it into another
        responses={400: {"model": errors.ErrorReply, "description": "What is wrong, and the cure"}},
    )
    app.state.engine = engine
    app.state.settings = (config or engine.config).server
    app.state.door = Door(app.state.settings, engine.access, keyless=keyless)
    app.state.metrics = Metrics(engine)
    errors.install(app)
    guarded = [Depends(check_request)]
    for router in (
        actions.router,
        items.router,
        users.everybody,
        users.router,
        requests.router,
        keys.router,
        recipe.router,
    ):
        app.include_router(router, dependencies=guarded)
    app.include_router(metrics.router, dependencies=guarded)
    app.include_router(health.router)
    app.include_router(docs.router)
    scopes.say_in_openapi(app)
    if (config or engine.config).studio.mode == "on":
        mount(app, engine, app.state.door)
    app.add_middleware(EdgeMiddleware, metrics=app.state.metrics)
    return app
