"""What a key looks like: ``wl_<id>_<secret part>``, and the digest that is kept of it."""

from __future__ import annotations

import hashlib
import re
import secrets

RANDOM_BYTES = 32
FORM = re.compile(r"wl_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
"""32 random bytes are 43 characters of base64url. The prefix lets scanners of repositories and logs find a leaked key.
"""


def new_secret() -> tuple[str, str]:
    """Make a key: its public id, and the whole of it."""
    key_id = secrets.token_hex(4)
    return key_id, f"wl_{key_id}_{secrets.token_urlsafe(RANDOM_BYTES)}"


def key_id_of(secret: str) -> str | None:
    """The public id in a key, None for a text that is no key of ours; reads no further than a key is long.

    >>> key_id_of("wl_0123abcd_" + "x" * 43), key_id_of("wl_0123abcd_"), key_id_of("opener")
    ('0123abcd', None, None)
    """
    found = FORM.fullmatch(secret)
    return found[1] if found else None


def digest_of(secret: str) -> bytes:
    """What the store keeps of a key: SHA-256, 32 bytes; ``storage/sqlite/api_keys.py`` says why no slower one."""
    return hashlib.sha256(secret.encode()).digest()
