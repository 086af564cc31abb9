"""Which column plays which part: guessed from the names that the field uses, overridden by the
caller.

Names are compared without case, spaces and underscores, and without RecBole's type suffix
(``user_id:token``)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from wayline.errors import UnknownColumnsError, shorten

Kind = Literal["actions", "items"]

_ITEM_ID = (
    "itemid", "item", "iid", "productid", "product", "sku", "stockcode", "parentasin", "asin",
    "movieid", "articleid",
    "contentid", "newsid", "videoid", "bookid", "trackid", "songid", "artistid", "postid",
    "documentid", "docid",
    "listingid", "goodsid", "isbn", "businessid", "gmapid", "pid", "adid",
)  # fmt: skip

# Role -> normalised names, best first: where two columns fit one role, the earlier name wins.
ACTION_ALIASES: dict[str, tuple[str, ...]] = {
    "user_id": (
        "userid", "user", "uid", "customerid", "customer", "reviewerid", "visitorid", "visitor",
        "memberid", "member",
        "accountid", "account", "personid", "person", "profileid", "clientid", "client",
        "sessionid", "session",
    ),
    "item_id": _ITEM_ID,
    "ts": (
        "ts", "tsms", "timestamp", "timestampms", "time", "timems", "datetime", "eventtime",
        "eventtimestamp",
        "eventdate", "occurredat", "createdat", "invoicedate", "orderdate", "purchasedate",
        "unixseconds", "unixtime",
        "unixreviewtime", "reviewtimestamp", "ratingtimestamp", "date", "t",
    ),
    "action": (
        "action", "actiontype", "event", "eventtype", "eventname", "feedbacktype", "behavior",
        "behaviour",
        "behaviortype", "behaviourtype", "interaction", "interactiontype", "verb", "type",
    ),
    "value": (
        "value", "eventvalue", "quantity", "rating", "score", "stars", "overall", "weight",
        "amount", "count",
    ),
    "surface": ("surface", "placement", "page", "channel"),
    "request_id": ("requestid", "recommendationid", "recid"),
    "action_id": ("actionid", "eventid"),
    "query": ("query", "searchquery", "searchterm", "search", "q"),
    "board": ("board", "boardid", "collection", "collectionid", "playlist", "folder", "list"),
}  # fmt: skip

ITEM_ALIASES: dict[str, tuple[str, ...]] = {
    "item_id": (*_ITEM_ID, "id"),
    "title": ("title", "name", "itemname", "itemtitle", "productname", "producttitle", "headline"),
    "description": ("description", "desc", "text", "body", "abstract", "summary", "content"),
    "category": ("category", "maincategory", "department", "section", "categoryname"),
    "tags": ("tags", "genres", "keywords", "labels", "categories", "tag"),
    "image_url": ("imageurl", "image", "img", "imurl", "thumbnail", "picture"),
    "created_ts_ms": (
        "createdtsms", "createdat", "created", "creationtimestamp", "publishedat", "published",
        "publishdate",
        "releasedate", "timestamp", "ts", "date",
    ),
    "hidden": ("hidden", "ishidden", "withdrawn", "deleted"),
    "attributes": ("attributes",),
    "vector": ("vector", "embedding", "emb"),
}  # fmt: skip

REQUIRED: dict[str, tuple[str, ...]] = {
    "actions": ("user_id", "item_id", "ts"),
    "items": ("item_id",),
}


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """Role -> column name, with how it was found; ``str()`` of it is the line a command prints."""

    kind: Kind
    columns: Mapping[str, str]
    given: frozenset[str] = frozenset()
    unused: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [
            f"{role}={name}{'' if role in self.given else ' (guessed)' if name != role else ''}"
            for role, name in self.columns.items()
        ]
        rest = "attributes" if self.kind == "items" else "ignored"
        return ", ".join(parts) + (f"; {rest}: {', '.join(self.unused)}" if self.unused else "")


def normalise(name: str) -> str:
    """A column name without case, punctuation and RecBole's type suffix.

    >>> normalise("Customer ID"), normalise("user_id:token")
    ('customerid', 'userid')
    """
    bare = re.sub(r":(token|float)(_seq)?$", "", name.strip().lower())
    return re.sub(r"[^0-9a-z]", "", bare)


def guess_columns(
    names: Sequence[str],
    *,
    kind: Kind = "actions",
    mapping: Mapping[str, str] | None = None,
    hints: Mapping[str, str] | None = None,
    label: str = "the data",
    needed: bool = True,
) -> ColumnMap:
    """Find the column of every role.

    Parameters
    ----------
    names : sequence of str
        The columns that are there.
    kind : {"actions", "items"}
        Whose roles to look for.
    mapping : mapping, optional
        ``{"user_id": "CustomerID"}``: what the caller says, which wins over any guess; an empty
        name leaves the role out.
    hints : mapping, optional
        What a file without a header shows by its values; weaker than a name.
    label : str
        What to call the data in a message.
    needed : bool
        False leaves it to the rows to miss a needed column (rows of a request, judged one by one).

    Raises
    ------
    UnknownColumnsError
        If ``mapping`` names a role or a column that does not exist, or a needed role has no column.

    Examples
    --------
    >>> names = ["CustomerID", "StockCode", "InvoiceDate"]
    >>> str(guess_columns(names, mapping={"ts": "InvoiceDate"}))
    'ts=InvoiceDate, user_id=CustomerID (guessed), item_id=StockCode (guessed)'
    """
    aliases = ACTION_ALIASES if kind == "actions" else ITEM_ALIASES
    found: dict[str, str] = {}
    left_out: set[str] = set()
    for given_role, name in (mapping or {}).items():
        role = _known_role(given_role, kind, aliases)
        if not name:
            left_out.add(role)
        elif name in names:
            found[role] = name
        else:
            raise UnknownColumnsError(_no_such_column(role, name, names, label), field=role)
    given = frozenset(found)
    for role, known in aliases.items():
        if role in found or role in left_out:
            continue
        free = {normalise(name): name for name in reversed(names) if name not in found.values()}
        best = role if role in names and role not in found.values() else None
        hit = best or next((free[alias] for alias in known if alias in free), None)
        hit = hit or (hints or {}).get(role)
        if hit is not None and hit not in found.values():
            found[role] = hit
    for role in REQUIRED[kind] if needed else ():
        if role not in found:
            raise UnknownColumnsError(_no_column_for(role, names, label), field=role)
    used = set(found.values())
    return ColumnMap(kind, found, given, tuple(name for name in names if name not in used))


def roles_given(mapping: Mapping[str, str], kind: Kind) -> frozenset[str]:
    """The roles that a caller's mapping names."""
    aliases = ACTION_ALIASES if kind == "actions" else ITEM_ALIASES
    return frozenset(_known_role(role, kind, aliases) for role, name in mapping.items() if name)


def looks_like_header(cells: Sequence[str]) -> bool:
    """Whether any cell is a column name that we know."""
    known = {
        alias for table in (ACTION_ALIASES, ITEM_ALIASES) for row in table.values() for alias in row
    }
    return any(normalise(cell) in known for cell in cells)


def _known_role(name: str, kind: Kind, aliases: Mapping[str, Iterable[str]]) -> str:
    """The role a caller means, by its name or one of its aliases."""
    if name in aliases:
        return name
    for role, known in aliases.items():
        if normalise(name) in known:
            return role
    near = difflib.get_close_matches(name, list(aliases), n=1)
    raise UnknownColumnsError(
        f"{shorten(name)} is no part that a column of {kind} can play: the parts are "
        f"{', '.join(aliases)}" + (f". Did you mean {near[0]!r}?" if near else "."),
        field=name,
    )


def _no_such_column(role: str, name: str, names: Sequence[str], label: str) -> str:
    near = difflib.get_close_matches(name.lower(), [n.lower() for n in names], n=2, cutoff=0.5)
    like = [n for n in names if n.lower() in near]
    hint = f"did you mean {' or '.join(repr(n) for n in like)}? " if like else ""
    return (
        f"{label} has no column {shorten(name)}: {hint}The columns are {_listed(names)}; give one "
        f"of them as "
        f"--map {role}=COLUMN."
    )


def _no_column_for(role: str, names: Sequence[str], label: str) -> str:
    return (
        f"No column of {label} looks like {role} among {_listed(names)}: name it with --map "
        f"{role}=COLUMN "
        f"(in Python mapping={{{role!r}: 'COLUMN'}})."
    )


def _listed(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(shorten(name, 40)[1:-1] if len(name) > 40 else name for name in names[:most])
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (shown + more).replace("\n", " ").replace("\r", " ") or "(none)"
