"""Refused rows as JSON lines, so that a person can mend them and import them again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TextIO

from wayline.schema import Rejection


class RejectsWriter:
    """Write rejections to a file, one JSON object a line; without rejections there is no file.

    Examples
    --------
    >>> import tempfile
    >>> from wayline.schema import Rejection
    >>> path = Path(tempfile.mkdtemp()) / "events.rejects.jsonl"
    >>> with RejectsWriter(path) as rejects:
    ...     rejects.write([Rejection(7, "ts", "ts is missing")])
    >>> path.read_text().rstrip()
    '{"index": 7, "field": "ts", "reason": "ts is missing"}'
    """

    def __init__(self, path: str | os.PathLike[str], *, source: str | None = None) -> None:
        self.path = Path(path)
        self.source = source
        self.count = 0
        self._file: TextIO | None = None

    def write(self, rejections: Iterable[Rejection]) -> None:
        """Append rejections; the file is made with the first one, in place of an older file of that
        name.
        """
        for each in rejections:
            if self._file is None:
                self._file = self.path.open("w", encoding="utf-8")
            line = {"index": each.index, "field": each.field, "reason": each.reason}
            if self.source is not None:
                line = {"source": self.source, **line}
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
            self.count += 1

    def close(self) -> None:
        """Flush and close; safe to call twice."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> RejectsWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
