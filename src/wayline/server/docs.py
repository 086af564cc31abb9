"""A page of the API that needs nothing but ``openapi.json``: no script, no other host."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "pre{padding:.7rem;overflow-x:auto;border:1px solid #8886;border-radius:4px}"
    "summary{cursor:pointer;padding:.4rem 0}code,pre{font:14px/1.4 ui-monospace,monospace}"
    "b{display:inline-block;min-width:4.5rem}"
    "td,th{text-align:left;padding:.1rem 1rem .1rem 0;vertical-align:top}"
)
_EXAMPLE_IDS = {
    "user_id": "17850",
    "item_id": "85123A",
    "interest_id": "299de4f0",
    "key_id": "5f0c9a1e",
}


@router.get("/docs")
def page(request: Request) -> HTMLResponse:
    """List every operation with a ``curl`` line to try."""
    html = render(request.app.openapi(), str(request.base_url).rstrip("/"))
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return HTMLResponse(html, headers={"Content-Security-Policy": policy})


def render(spec: dict[str, Any], base_url: str) -> str:
    """Turn an OpenAPI description into one page of HTML."""
    info = spec["info"]
    sections = [
        _operation(method, path, operation, base_url)
        for path, methods in spec["paths"].items()
        for method, operation in methods.items()
    ]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'>"
        f"<title>wayline API</title><style>{_STYLE}</style>"
        f"<h1>wayline API {escape(info['version'])}</h1><p>{_prose(info['description'])}</p>"
        "<p>Machine-readable: <a href=openapi.json>openapi.json</a>. Where keys are set, add "
        "<code>-H 'X-API-Key: …'</code>.</p>" + "".join(sections) + "</html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any], base_url: str) -> str:
    title = f"<b>{method.upper()}</b> <code>{escape(path)}</code> {escape(operation['summary'])}"
    text = f"<p>{_prose(operation.get('description', ''))}</p>"
    rows = "".join(
        f"<tr><td><code>{escape(p['name'])}</code><td>{escape(p['in'])}"
        f"<td>{escape(p.get('description', ''))}"
        for p in operation.get("parameters", [])
        if p["in"] != "header"
    )
    table = f"<table>{rows}</table>" if rows else ""
    curl = escape(_curl(method, path, operation, base_url))
    return f"<details open><summary>{title}</summary>{text}{table}<pre>{curl}</pre></details>"


def _curl(method: str, path: str, operation: dict[str, Any], base_url: str) -> str:
    for name, value in _EXAMPLE_IDS.items():
        path = path.replace("{" + name + "}", value)
    if "requestBody" in operation:
        example = operation["requestBody"]["content"]["application/json"]["example"]
        verb = "" if method == "post" else f"-X {method.upper()} "
        return (
            f"curl {verb}{base_url}{path} -H 'Content-Type: application/json' \\\n  -d '"
            f"{json.dumps(example)}'"
        )
    verb = "" if method == "get" else f"-X {method.upper()} "
    return f"curl {verb}{base_url}{path}"


def _prose(text: str) -> str:
    """Escape, keeping `code` and paragraphs."""
    parts = escape(text).split("`")
    marked = "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts))
    return marked.replace("\n\n", "<p>")
