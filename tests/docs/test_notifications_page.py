"""The page on notifications: its signature check works, and its reasons are those that there are."""

from __future__ import annotations

import re
import time
from pathlib import Path

from wayline.notifications.delivery.webhook import signature
from wayline.notifications.eligibility import REASONS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "notifications.md").read_text("utf-8")


def test_the_signature_check_of_the_page_tells_ours_from_others() -> None:
    (code,) = re.findall(r"<!-- test: signature -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    verified = names["verified"]
    assert callable(verified)
    now, body = int(time.time()), '{"title": "Lämps"}'.encode()
    header = signature("s3cret", body, now)
    assert verified("s3cret", body, header)
    assert not verified("other", body, header)
    assert not verified("s3cret", body + b" ", header)
    assert not verified("s3cret", body, header.replace(f"t={now}", f"t={now + 1}"))
    assert not verified("s3cret", body, signature("s3cret", body, now - 3600))


def test_every_reason_is_documented_and_no_other() -> None:
    table = PAGE.split("| reason | rule |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)} == set(REASONS)
