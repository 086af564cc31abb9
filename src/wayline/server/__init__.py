"""The REST API: every route is one engine call, with its limits, errors and metrics around it."""

from wayline.server.app import create_app
from wayline.server.serving import serve

__all__ = ["create_app", "serve"]
