"""One router a resource; each route is one engine call."""
