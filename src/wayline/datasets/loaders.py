"""Public data sets in their official layouts, by path: nothing is downloaded.

Every loader gives actions (user_id, item_id str, ts int64 in UTC milliseconds, action str and what
the set has beside), items or None, and a suggestion of what each action is worth. The set's own
terms of use apply."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from wayline.clock import MAX_TS_MS
from wayline.errors import FileProblemError, InputError, shorten
from wayline.intake import Chunk, read_actions, read_items

_LIKE_FROM, _DISLIKE_TO = 4.0, 2.0  # of five stars


class Loaded(NamedTuple):
    """A data set in memory."""

    actions: pl.DataFrame
    items: pl.DataFrame | None
    worths: dict[str, float]


def load(kind: str, path: str | os.PathLike[str] | None = None) -> Loaded:
    """Load a data set.

    Parameters
    ----------
    kind : str
        ``movielens`` (csv, ``::`` or 100K layout), ``deskdrop``, ``s3rec``, ``mind``, ``parquet``
        (a folder with actions.parquet and perhaps items.parquet), or ``online-retail``, which is
        inside the package and needs no path.
    path : path
        The folder of the set (for ``s3rec`` also the sequence file itself).

    Raises
    ------
    InputError
        If the kind is unknown or the path is missing.
    FileProblemError
        If the folder lacks a file of the layout, or a file holds rows that cannot be used.
    """
    if kind in ("online-retail", "online_retail"):
        from wayline.datasets.demo import online_retail

        data = online_retail()
        return _parquet(data.actions.parent)._replace(worths=data.config["actions"])
    if kind not in KINDS:
        known = ", ".join(["online-retail", *KINDS])
        raise InputError(
            f"Got {shorten(kind)} as a kind of data set, expected one of {known}.", field="kind"
        )
    if path is None:
        raise InputError(
            f"The data set {kind} is loaded by path: give the folder it lies in.", field="path"
        )
    where = Path(path)
    if not where.exists():
        raise FileProblemError(
            f"There is nothing at {where}: give the folder of the {kind} set.", field="path"
        )
    return KINDS[kind](where)


def _movielens(folder: Path) -> Loaded:
    """MovieLens: from four stars a like, up to two a dislike, between them a view; free tags are
    the action ``tag``.
    """
    if (folder / "ratings.csv").exists():
        ratings = _actions(folder / "ratings.csv")
        tags = _actions(folder / "tags.csv") if (folder / "tags.csv").exists() else None
        items = _items(folder / "movies.csv") if (folder / "movies.csv").exists() else None
    elif (folder / "ratings.dat").exists():
        ratings = _actions(folder / "ratings.dat", names=["user", "item", "rating", "timestamp"])
        tags_file = folder / "tags.dat"
        names = ["user", "item", "tag", "timestamp"]
        tags = _actions(tags_file, names=names) if tags_file.exists() else None
        items = _movies_dat(folder / "movies.dat") if (folder / "movies.dat").exists() else None
    else:
        _need(folder, "u.data", "MovieLens (ratings.csv, ratings.dat or u.data)")
        ratings = _actions(folder / "u.data", names=["user", "item", "rating", "timestamp"])
        tags = None
        items = _movies_100k(folder / "u.item") if (folder / "u.item").exists() else None
    stars = pl.col("value")
    named = pl.when(stars >= _LIKE_FROM).then(pl.lit("like")).when(stars <= _DISLIKE_TO)
    ratings = ratings.with_columns(action=named.then(pl.lit("dislike")).otherwise(pl.lit("view")))
    worths = {"like": 1.0, "view": 0.2, "dislike": -1.0}
    if tags is None:
        return Loaded(_in_time(ratings), items, worths)
    tagged = tags.select("user_id", "item_id", "ts", action=pl.lit("tag"))
    both = pl.concat([ratings, tagged], how="diagonal")
    return Loaded(_in_time(both), items, {**worths, "tag": 0.5})


def _movies_dat(path: Path) -> pl.DataFrame:
    """``MovieID::Title::Genres``; 1M is Latin-1, 10M UTF-8."""
    names = ["item_id", "title", "tags"]
    return _items(path, names=names, encoding=_encoding_of(path))


def _movies_100k(path: Path) -> pl.DataFrame:
    """``u.item``: id, title, three more fields, then a flag for each genre of ``u.genre``."""
    genres_file = path.with_name("u.genre")
    lines = genres_file.read_text("latin-1").splitlines() if genres_file.exists() else []
    genres = [line.rsplit("|", 1)[0] for line in lines if line]
    rows = []
    for line in path.read_text("latin-1").splitlines():
        cells = line.split("|")
        flags = cells[5 : 5 + len(genres)]
        tags = [name for name, flag in zip(genres, flags, strict=False) if flag == "1"]
        rows.append({"item_id": cells[0], "title": cells[1], "tags": tags})
    return _clean(read_items(rows), path)


def _deskdrop(folder: Path) -> Loaded:
    """CI&T Deskdrop: every reading, like, comment, follow and bookmark of shared articles."""
    actions = _actions(_need(folder, "users_interactions.csv", "Deskdrop"))
    actions = actions.with_columns(pl.col("action").str.to_lowercase())
    items = None
    if (folder / "shared_articles.csv").exists():
        articles = _articles(folder / "shared_articles.csv")
        items = _clean(read_items(articles), folder / "shared_articles.csv")
    worths = {"view": 1.0, "like": 2.0, "bookmark": 3.0, "comment created": 3.0, "follow": 3.0}
    return Loaded(_in_time(actions), items, worths)


def _articles(path: Path) -> pl.DataFrame:
    """The newest state of each article; one whose last event is its removal is hidden."""
    raw = pl.read_csv(path, infer_schema=False).sort(
        pl.col("timestamp").cast(pl.Int64), maintain_order=True
    )
    shared = pl.col("eventType") == "CONTENT SHARED"
    return (
        raw.group_by("contentId", maintain_order=True)
        .agg(
            pl.col("title", "lang", "url").filter(shared).last(),
            description=pl.col("text").filter(shared).last().str.slice(0, 2000),
            created_at=pl.col("timestamp").first(),
            hidden=pl.col("eventType").last() == "CONTENT REMOVED",
        )
        .rename({"contentId": "item_id"})
    )


def _s3rec(path: Path) -> Loaded:
    """S3-Rec: a line is ``user item item …`` in the order of time.

    There are no times: positions stand for them, a second apart from 1970 on, as such files are
    usually read. They order one person's actions and mean nothing between people.
    """
    file = path if path.is_file() else _sequence_file(path)
    users: list[str] = []
    items: list[str] = []
    positions: list[int] = []
    for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
        user, *sequence = line.split() or [""]
        if not user:
            continue
        if not sequence:
            raise FileProblemError(
                f"Line {number} of {file.name} has a user and no item: expected `user item item "
                f"…`.",
                field="file",
            )
        users += [user] * len(sequence)
        items += sequence
        positions += range(0, 1000 * len(sequence), 1000)
    if not users:
        raise FileProblemError(
            f"{file} holds no sequence: expected lines of `user item item …`.", field="file"
        )
    actions = pl.DataFrame({"user_id": users, "item_id": items, "ts": positions})
    actions = actions.with_columns(action=pl.lit("engage"))
    attributes = file.with_name(f"{file.stem}_item2attributes.json")
    catalogue = None
    if attributes.exists():
        pairs: Mapping[str, Iterable[Any]] = json.loads(attributes.read_text("utf-8"))
        rows = [{"item_id": item, "tags": list(tags)} for item, tags in pairs.items()]
        catalogue = _clean(read_items(rows), attributes)
    return Loaded(_in_time(actions), catalogue, {"engage": 1.0})


def _sequence_file(folder: Path) -> Path:
    """The one text file of a folder that has its attributes beside it, or the only one."""
    found = sorted(file for file in folder.glob("*.txt") if not file.stem.endswith("_sample"))
    paired = [
        file for file in found if file.with_name(f"{file.stem}_item2attributes.json").exists()
    ]
    best = paired or found
    if len(best) != 1:
        names = ", ".join(file.name for file in best) or "none"
        raise FileProblemError(
            f"{folder} should hold one S3-Rec sequence file, found {names}: give the path of the "
            f"file.",
            field="file",
        )
    return best[0]


def _mind(folder: Path) -> Loaded:
    """MIND: what was shown is an ``impression``, what was clicked a ``click``, both with the
    impression's id as request_id.

    The clicks before the log (column History) have no times; they are put one second apart right
    before the person's first impression, in their order.
    """
    behaviors = _tsv(
        _need(folder, "behaviors.tsv", "MIND"),
        ["request_id", "user_id", "time", "history", "shown"],
    ).with_columns(
        ts=pl.col("time")
        .str.to_datetime("%m/%d/%Y %I:%M:%S %p", time_unit="ms", strict=False)
        .cast(pl.Int64)
    )
    bad = behaviors.filter(pl.col("ts").is_null() | pl.col("user_id").is_null())
    if bad.height:
        raise FileProblemError(
            f"behaviors.tsv has {bad.height:,} lines without a user or a time like 11/11/2019 "
            f"9:05:58 AM: check that it is the "
            "official file.",
            field="file",
        )
    shown = behaviors.select("user_id", "ts", "request_id", pl.col("shown").str.split(" ")).explode(
        "shown"
    )
    shown = shown.drop_nulls("shown").filter(pl.col("shown") != "")
    shown = shown.with_columns(
        item_id=pl.col("shown").str.replace("-[01]$", ""),
        action=pl.when(pl.col("shown").str.ends_with("-1"))
        .then(pl.lit("click"))
        .otherwise(pl.lit("impression")),
    )
    columns = ["user_id", "item_id", "ts", "action", "request_id"]
    actions = pl.concat([_history(behaviors).select(columns), shown.select(columns)])
    items = None
    if (folder / "news.tsv").exists():
        names = ["item_id", "category", "subcategory", "title", "abstract", "url", "e1", "e2"]
        news = _tsv(folder / "news.tsv", names).drop("e1", "e2").rename({"subcategory": "tags"})
        items = _clean(read_items(news), folder / "news.tsv")
    return Loaded(_in_time(actions), items, {"click": 1.0, "impression": 0.0})


def _history(behaviors: pl.DataFrame) -> pl.DataFrame:
    """The clicks before the log, one second apart before each person's first impression."""
    first = behaviors.sort("ts", maintain_order=True).unique(
        "user_id", keep="first", maintain_order=True
    )
    past = first.filter(pl.col("history").fill_null("") != "").select(
        "user_id", "ts", item_id=pl.col("history").str.split(" ")
    )
    past = past.with_columns(
        back=pl.int_ranges(pl.col("item_id").list.len().cast(pl.Int64), 0, -1)
    ).explode("item_id", "back")
    return past.with_columns(
        ts=pl.col("ts") - pl.col("back") * 1000,
        action=pl.lit("click"),
        request_id=pl.lit(None, dtype=pl.String),
    )


def _parquet(folder: Path) -> Loaded:
    """This project's own layout; every action is worth 1, unless its name says that it is a
    dislike.
    """
    actions = _actions(_need(folder, "actions.parquet", "this project's Parquet"))
    items = _items(folder / "items.parquet") if (folder / "items.parquet").exists() else None
    negative = {"dislike", "hide", "return", "remove", "report", "not_interested"}
    names = sorted(actions["action"].unique().to_list())
    return Loaded(actions, items, {name: -1.0 if name in negative else 1.0 for name in names})


KINDS: dict[str, Callable[[Path], Loaded]] = {
    "movielens": _movielens,
    "deskdrop": _deskdrop,
    "s3rec": _s3rec,
    "mind": _mind,
    "parquet": _parquet,
}
"""What `load` knows by path."""


def _actions(path: Path, **options: Any) -> pl.DataFrame:
    chunks = read_actions(path, now_ts_ms=MAX_TS_MS, **options)
    return _clean(chunks, path).rename({"ts_ms": "ts"})


def _items(path: Path, **options: Any) -> pl.DataFrame:
    return _clean(read_items(path, **options), path)


def _clean(chunks: Iterable[Chunk], path: Path) -> pl.DataFrame:
    """All chunks as one frame; a published file has no bad rows, so one means that it is not what
    it should be.
    """
    parts = []
    for chunk in chunks:
        if chunk.rejections:
            first = chunk.rejections[0]
            raise FileProblemError(
                f"{path.name} has a row that cannot be used, number {first.index:,}: "
                f"{first.reason}.",
                field=first.field,
            )
        parts.append(chunk.frame.drop("row"))
    if not sum(part.height for part in parts):
        raise FileProblemError(f"{path} holds no rows: check that it is complete.", field="file")
    frame = pl.concat(parts, how="diagonal")
    empty = [
        name
        for name in frame.columns
        if name != "item_id" and frame[name].null_count() == frame.height
    ]
    return frame.drop(empty)


def _in_time(actions: pl.DataFrame) -> pl.DataFrame:
    return actions.sort("ts", maintain_order=True)


def _need(folder: Path, name: str, layout: str) -> Path:
    """A file that the layout must have."""
    if not (folder / name).is_file():
        raise FileProblemError(
            f"{folder} has no {name}, which the layout of {layout} needs: give the folder that "
            f"holds it.",
            field="file",
        )
    return folder / name


def _tsv(path: Path, names: list[str]) -> pl.DataFrame:
    """A file of tabs without header and quotes, all columns as text."""
    try:
        return pl.read_csv(
            path,
            separator="\t",
            has_header=False,
            new_columns=names,
            quote_char=None,
            infer_schema=False,
        )
    except pl.exceptions.PolarsError as error:
        reason = str(error).split("\n")[0]
        raise FileProblemError(
            f"{path} is no file of {len(names)} columns: {reason}.", field="file"
        ) from None


def _encoding_of(path: Path) -> str:
    """UTF-8 where it is, else Latin-1."""
    try:
        path.read_text("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"
