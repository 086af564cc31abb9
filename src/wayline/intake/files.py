"""Files: find out what one is by its content and its name, and read it in bounded pieces.

A name that promises something else than the content holds is refused, because guessing would hide a
broken export."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from wayline.errors import FileProblemError, shorten
from wayline.intake.batch import Source

BLOCK_BYTES = 4 << 20
MAX_LINE_BYTES = 64 << 20
_HEAD_BYTES = 64 << 10
_READ_BYTES = 1 << 20
_PACKED_BYTES = 16 << 10
_GZIP_MAGIC = b"\x1f\x8b"
_PARQUET_MAGIC = b"PAR1"

_FORMATS = {
    ".parquet": "parquet", ".pq": "parquet",
    ".jsonl": "json", ".ndjson": "json", ".json": "json",
    ".csv": "delimited", ".tsv": "delimited", ".tab": "delimited", ".dat": "delimited", ".txt":
    "delimited",
    ".inter": "delimited", ".item": "delimited",
}  # fmt: skip
_OTHER_MAGICS = {
    b"PK\x03\x04": ("a zip archive or an Excel workbook", "unpack it, or save it as CSV"),
    b"\x28\xb5\x2f\xfd": ("zstd-compressed", "unpack it with `zstd -d`, or use gzip"),
    b"BZh": ("bzip2-compressed", "unpack it with `bunzip2`, or use gzip"),
    b"\xfd7zXZ": ("xz-compressed", "unpack it with `unxz`, or use gzip"),
    b"SQLite format 3": ("an SQLite database", "export a table as CSV or Parquet"),
    b"ARROW1": ("an Arrow (Feather) file", "write it as Parquet"),
    b"Obj\x01": ("an Avro file", "write it as Parquet"),
    b"ORC": ("an ORC file", "write it as Parquet"),
    b"%PDF": ("a PDF", "give Parquet, CSV or JSON lines"),
    b"\xff\xfe": ("UTF-16 text", "save it as UTF-8"),
    b"\xfe\xff": ("UTF-16 text", "save it as UTF-8"),
}


class TornFileError(Exception):
    """What was read so far is good; from here on the file is not. Carries the reason."""


def open_file(
    path: str | os.PathLike[str],
    *,
    names: Sequence[str] | None = None,
    encoding: str = "utf-8",
    rows_per_chunk: int,
) -> Source:
    """Open Parquet, delimited text or JSON (each also gzipped) as a source of batches.

    Raises
    ------
    FileProblemError
        If the file is missing, empty, a folder, unreadable, or not what its name says.
    """
    where = Path(path)
    packed, head = _head(where)
    kind = _kind(where, packed, head)
    if kind == "parquet":
        from wayline.intake.parquet import open_parquet

        return open_parquet(where, packed=packed, rows_per_chunk=rows_per_chunk)
    if kind == "json":
        from wayline.intake.jsonl import open_json

        return open_json(where, head, packed=packed, encoding=encoding)
    from wayline.intake.delimited import open_delimited

    return open_delimited(where, head, packed=packed, names=names, encoding=encoding)


def text_blocks(path: Path, *, packed: bool, encoding: str) -> Iterator[str]:
    """The text of a file in blocks of about 4 MiB that end where a line ends.

    Raises
    ------
    TornFileError
        After the last good line: bytes that are no text, a gzip stream that breaks off, or a line
        without end.
    """
    offset, line = 0, 1
    for block in _line_blocks(raw_blocks(path, packed=packed)):
        try:
            text = block.decode(encoding)
        except UnicodeDecodeError as error:
            good = block.rfind(b"\n", 0, error.start) + 1
            if good:
                yield _unmarked(block[:good].decode(encoding), offset)
            line += block.count(b"\n", 0, error.start)
            raise TornFileError(
                f"{path.name} is not UTF-8 text at byte {offset + error.start:,} (line {line:,}, "
                f"byte "
                f"0x{block[error.start]:02X}); nothing from that line on was read: convert it, for "
                f"example with "
                f"`iconv -f latin1 -t utf-8`."
            ) from None
        yield _unmarked(text, offset)
        offset += len(block)
        line += block.count(b"\n")


def raw_blocks(path: Path, *, packed: bool) -> Iterator[bytes]:
    """The bytes of a file, unpacked.

    Raises
    ------
    TornFileError
        After the last good byte of a gzip stream that is cut short or damaged.
    """
    with path.open("rb") as file:
        blocks = iter(lambda: file.read(_READ_BYTES), b"")
        yield from _unpacked(blocks, path.name) if packed else blocks


def _head(path: Path) -> tuple[bool, bytes]:
    """Whether the file is gzipped, and its first bytes, unpacked."""
    try:
        if path.is_dir():
            raise FileProblemError(f"{path} is a folder: give the files in it.", field="file")
        with path.open("rb") as file:
            first = file.read(16)
    except FileNotFoundError:
        raise FileProblemError(
            f"There is no file {path}: check the name (looked in {Path.cwd()}).", field="file"
        ) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise FileProblemError(f"{path} cannot be read: {reason}.", field="file") from None
    if not first:
        raise FileProblemError(f"{path} is empty: check the export that wrote it.", field="file")
    packed = first.startswith(_GZIP_MAGIC)
    if path.suffix.lower() == ".gz" and not packed:
        raise FileProblemError(
            f"{path} is not gzip (it starts with {first[:4]!r}): take .gz off its name if it is "
            f"not packed.",
            field="file",
        )
    head = b""
    try:
        for block in raw_blocks(path, packed=packed):
            head += block
            if len(head) >= _HEAD_BYTES:
                break
    except TornFileError as error:
        if b"\n" not in head:  # not even a header
            raise FileProblemError(str(error), field="file") from None
    if not head:
        raise FileProblemError(
            f"{path} is empty inside its gzip: check the export that wrote it.", field="file"
        )
    return packed, head[:_HEAD_BYTES]


def _kind(path: Path, packed: bool, head: bytes) -> str:
    """``parquet``, ``json`` or ``delimited``."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    promised = _FORMATS.get(suffixes[-1]) if suffixes else None
    if head.startswith(_PARQUET_MAGIC):
        if promised not in (None, "parquet"):
            raise FileProblemError(
                f"{path} is a Parquet file: rename it to end in .parquet.", field="file"
            )
        return "parquet"
    if promised == "parquet":
        raise FileProblemError(
            f"{path} is not Parquet (it starts with {shorten(head[:4])}, expected b'PAR1'): check "
            f"the export, or give it "
            "the ending of what it is.",
            field="file",
        )
    for magic, (what, cure) in _OTHER_MAGICS.items():
        if head.startswith(magic):
            raise FileProblemError(f"{path} is {what}: {cure}.", field="file")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        raise FileProblemError(
            f"{path} holds nothing but blanks: check the export that wrote it.", field="file"
        )
    if promised is not None:
        return promised
    if head.count(b"\x00") > len(head) // 100:
        raise FileProblemError(
            f"{path} is binary data of a kind that wayline does not read: give Parquet, CSV, TSV "
            f"or JSON lines.",
            field="file",
        )
    return "json" if text[:1] in (b"{", b"[") else "delimited"


def _unpacked(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Gunzip any number of members, fed in small pieces so that even the densest stream stays
    bounded (16 MiB a piece).
    """
    unpack, begun = zlib.decompressobj(wbits=31), False
    for block in blocks:
        for at in range(0, len(block), _PACKED_BYTES):
            rest = block[at : at + _PACKED_BYTES]
            while rest:
                try:
                    piece = unpack.decompress(rest)
                except zlib.error as error:
                    raise TornFileError(
                        f"The gzip stream of {name} is damaged ({error}); nothing from there on "
                        f"was read: copy the file again."
                    ) from None
                begun = True
                if piece:
                    yield piece
                rest = b""
                if unpack.eof:
                    rest = unpack.unused_data.lstrip(b"\x00")  # padding between members is legal
                    unpack, begun = zlib.decompressobj(wbits=31), False
    if begun:
        raise TornFileError(
            f"The gzip stream of {name} is cut short; nothing from there on was read: copy the "
            f"file again."
        )


def _line_blocks(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Cut after line ends; the last line may lack one, unless the file is torn: then it is left
    out.
    """
    parts: list[bytes] = []
    size = 0
    try:
        for block in blocks:
            parts.append(block)
            size += len(block)
            if size < BLOCK_BYTES:
                continue
            if b"\n" not in block and size < MAX_LINE_BYTES:
                continue
            whole = b"".join(parts)
            cut = whole.rfind(b"\n") + 1
            if not cut:
                raise TornFileError(
                    f"A line is longer than {MAX_LINE_BYTES >> 20} MiB; nothing from there on was "
                    f"read: is this a text file?"
                )
            yield whole[:cut]
            parts, size = [whole[cut:]], len(whole) - cut
    except TornFileError:
        whole = b"".join(parts)
        cut = whole.rfind(b"\n") + 1
        if cut:
            yield whole[:cut]
        raise
    if size:
        yield b"".join(parts)


def _unmarked(text: str, offset: int) -> str:
    """Without the byte order mark that some programs put first."""
    return text.removeprefix("\ufeff") if offset == 0 else text
