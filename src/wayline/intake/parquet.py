"""Parquet, one piece of a row group after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wayline.errors import FileProblemError
from wayline.intake.batch import Batch, Source, of_frame, torn
from wayline.intake.files import TornFileError, raw_blocks
from wayline.intake.sources import arrow_frame


def open_parquet(path: Path, *, packed: bool, rows_per_chunk: int) -> Source:
    """Open a Parquet file; a gzipped one is unpacked to a temporary file, because its index stands
    at the end.

    Raises
    ------
    FileProblemError
        If the index at the file's end is missing or damaged, or two columns have one name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    place: Any = _unpack(path) if packed else path
    try:
        file = pq.ParquetFile(place)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FileProblemError(
            f"{path} is no complete Parquet file ({one_line(error)}): it may be cut short, copy or "
            f"write it again.",
            field="file",
        ) from None
    names = file.schema_arrow.names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise FileProblemError(f"{path} has two columns named {twice}: rename one.", field="file")

    def batches(columns: Sequence[str] | None) -> Iterator[Batch]:
        at = 0
        pieces = file.iter_batches(
            batch_size=rows_per_chunk,
            columns=None if columns is None else list(columns),
            use_threads=True,
        )
        while True:
            try:
                piece = next(pieces, None)
                if piece is None:
                    return
                frame = arrow_frame(piece.select(list(columns)) if columns is not None else piece)
            except (pa.ArrowException, OSError) as error:
                yield torn(
                    columns or names,
                    at,
                    f"{path.name} cannot be read from row {at:,} of {file.metadata.num_rows:,} on "
                    f"({one_line(error)}): copy or "
                    "write it again.",
                )
                return
            yield of_frame(frame, at)
            at += frame.height

    return Source(path.name, names, batches)


def one_line(error: BaseException, limit: int = 160) -> str:
    """The text of another library's error, on one line."""
    text = " ".join(str(error).split()).rstrip(".")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _unpack(path: Path) -> Any:
    """A map of the unpacked bytes; the file behind it has lost its name and goes with the map."""
    import pyarrow as pa

    with tempfile.NamedTemporaryFile(prefix="wayline-") as unpacked:
        try:
            for block in raw_blocks(path, packed=True):
                unpacked.write(block)
        except TornFileError as error:
            raise FileProblemError(str(error), field="file") from None
        unpacked.flush()
        return pa.memory_map(unpacked.name)
