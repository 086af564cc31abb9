"""Every error wayline raises on purpose: what came, what was expected, what to do.

::

    WaylineError                        code              exit   http
    ├── InputError                      bad_input            2    400
    │   ├── FileProblemError            bad_file             2    400
    │   ├── UnknownColumnsError         unknown_columns      2    400
    │   ├── BadTimeError                bad_time             2    400
    │   ├── AmbiguousDateError          ambiguous_date       2    400
    │   ├── FutureActionError           future_action        2    400
    │   ├── BadVectorError              bad_vector           2    400
    │   ├── TemplateError           bad_template         2    400
    │   ├── DimensionMismatchError      dimension_mismatch   2    400
    │   ├── TooLargeError               too_large            2    413
    │   └── ConfigError                 bad_config           2    400
    ├── NotFoundError                   not_found            2    404
    ├── WorkspaceError                  workspace            2    409
    │   ├── NoWorkspaceError            no_workspace         2    404
    │   ├── WorkspaceLockedError        workspace_locked     2    409
    │   ├── NewerWorkspaceError         newer_workspace      2    409
    │   ├── NoGenerationError           no_generation        2    409
    │   ├── NothingToBuildError         nothing_to_build     2    409
    │   ├── TooLittleToTrainError       too_little_data      2    409
    │   ├── RankerError                 bad_ranker           2    409
    │   ├── MissingPackageError         missing_package      2    409
    │   └── DiskFullError               disk_full            2    507
    ├── ConflictError                   conflict             2    409
    └── NotAllowedError                 not_allowed          2    403
        └── BadKeyError                 bad_key              2    401

``code`` is the same in Python, on the command line (``--json``) and over HTTP, and does not change between versions.
"""

from __future__ import annotations

from typing import ClassVar


class WaylineError(Exception):
    """The root: one line that a person can act on."""

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 400
    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class InputError(WaylineError):
    """Something given to wayline cannot be used."""

    code = "bad_input"


class FileProblemError(InputError):
    """A file is missing, empty, or not what its name says."""

    code = "bad_file"


class UnknownColumnsError(InputError):
    """No column plays a part that is needed, and none could be guessed."""

    code = "unknown_columns"


class BadTimeError(InputError):
    """A time is not a time, negative, or beyond the year 2100."""

    code = "bad_time"

    def __init__(self, value: object) -> None:
        super().__init__(
            f"Got {shorten(value)} as a time, expected seconds or milliseconds since 1970 or ISO-8601 between 1970 and "
            "2100: write it as 2026-01-31T12:00:00Z.",
            field="ts",
        )


class AmbiguousDateError(InputError):
    """Dates read like 3/4/2010 and nothing shows which part is the day."""

    code = "ambiguous_date"

    def __init__(self, example: str, column: str, where: str) -> None:
        super().__init__(
            f"{column} of {where} has dates like {shorten(example)}, which may be day/month or "
            "month/day, and no other date shows which: write ISO dates such as "
            "2010-04-03T08:26:00Z.",
            field="ts",
        )


class FutureActionError(InputError):
    """An action is later than the time that was asked about."""

    code = "future_action"

    def __init__(self, *, got: int, now: int) -> None:
        super().__init__(
            f"Got an action at {got} ms, expected none after {now} ms, the time asked about: leave out later actions.",
            field="ts",
        )


class BadVectorError(InputError):
    """A vector holds NaN or infinity, or has no length."""

    code = "bad_vector"


class TemplateError(InputError):
    """A template of a notification cannot be used."""

    code = "bad_template"

    def __init__(self, where: str, line: int | None, problem: str, cure: str) -> None:
        at = where if line is None else f"{where}, line {line}"
        super().__init__(f"{at}: {' '.join(problem.split()).rstrip('.')}: {cure}.")


class DimensionMismatchError(InputError):
    """Vectors of one width met vectors of another."""

    code = "dimension_mismatch"

    def __init__(self, *, got: int, expected: int, where: str, cure: str) -> None:
        super().__init__(f"Vectors in {where} have {got} dimensions, expected {expected}: {cure}.")
        self.got, self.expected = got, expected


class TooLargeError(InputError):
    """More than a documented limit allows."""

    code = "too_large"
    http_status = 413


class ConfigError(InputError):
    """A key is unknown or its value is not one."""

    code = "bad_config"


class NotFoundError(WaylineError):
    """The thing asked for by id is not there."""

    code = "not_found"
    http_status = 404


class WorkspaceError(WaylineError):
    """The workspace cannot do this now."""

    code = "workspace"
    http_status = 409


class NoWorkspaceError(WorkspaceError):
    """There is no workspace at that path."""

    code = "no_workspace"
    http_status = 404


class WorkspaceLockedError(WorkspaceError):
    """Another process writes to the workspace."""

    code = "workspace_locked"


class NewerWorkspaceError(WorkspaceError):
    """A newer wayline made the workspace."""

    code = "newer_workspace"


class NoGenerationError(WorkspaceError):
    """Nothing has been built yet, or the generation asked for is gone."""

    code = "no_generation"


class NothingToBuildError(WorkspaceError):
    """There are no actions to learn from."""

    code = "nothing_to_build"


class TooLittleToTrainError(WorkspaceError):
    """The log does not hold enough to learn an order from; what served before goes on serving."""

    code = "too_little_data"


class RankerError(WorkspaceError):
    """The files of a ranker are damaged, or of another version."""

    code = "bad_ranker"


class MissingPackageError(WorkspaceError):
    """An optional package that this needs is not installed."""

    code = "missing_package"


class DiskFullError(WorkspaceError):
    """The disk refused a write; what was acknowledged before is safe."""

    code = "disk_full"
    http_status = 507


class ConflictError(WaylineError):
    """Somebody else changed meanwhile what this would have changed; nothing was written."""

    code = "conflict"
    http_status = 409


class NotAllowedError(WaylineError):
    """The server's settings forbid it, or the caller's key may not do it."""

    code = "not_allowed"
    http_status = 403


class BadKeyError(NotAllowedError):
    """A request carries no API key, or one that does not count."""

    code = "bad_key"
    http_status = 401


def shorten(value: object, limit: int = 60) -> str:
    """``repr`` of a value cut to one readable line, for messages.

    >>> shorten("x" * 100, limit=10)
    "'xxxxxx… (100 characters)"
    """
    text = repr(value)
    if len(text) <= limit:
        return text
    size = f" ({len(value):,} characters)" if isinstance(value, (str, bytes)) else ""
    return text[: max(limit - 3, 1)] + "…" + size
