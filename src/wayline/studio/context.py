"""Where the pages find what the server gave them, in the scope of a request."""

PREFIX = "/studio"
ENGINE = "wayline.engine"
"""Where pages find the engine in their request's scope: NiceGUI's pages belong to the process, engines to an app."""
GUARD = "wayline.guard"
"""Where they find who let the request in."""
