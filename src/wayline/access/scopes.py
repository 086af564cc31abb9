"""How much a key may do: three scopes, each with all that the ones before it may."""

from __future__ import annotations

from enum import IntEnum

from wayline.errors import InputError, shorten


class Scope(IntEnum):
    """What a key may do; a higher one may all that a lower one may.

    >>> Scope.ADMIN > Scope.WRITE > Scope.READ, str(Scope.WRITE)
    (True, 'write')
    """

    READ = 1
    """Ask: feeds, interests, items, metrics."""
    WRITE = 2
    """Say what people did and want: actions, their own controls."""
    ADMIN = 3
    """Change what there is: items, people (forgetting them), keys."""

    def __str__(self) -> str:
        return self.name.lower()

    @classmethod
    def named(cls, name: str) -> Scope:
        """Give the scope of a name; InputError for any other text.

        >>> Scope.named("admin")
        <Scope.ADMIN: 3>
        """
        for scope in cls:
            if str(scope) == name:
                return scope
        raise InputError(
            f"Got scope {shorten(name)}, expected read, write or admin: choose the least that the caller needs.",
            field="scope",
        )
