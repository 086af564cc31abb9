"""Where everything is kept: the log, the dictionaries, the items, what was shown, and what was
built.

Nothing above this folder knows which database runs: it asks for a
:class:`~wayline.storage.store.Store`.
"""

from wayline.storage.generations import Generations, GenerationWriter
from wayline.storage.locks import BuildLock
from wayline.storage.store import (
    Appended,
    RequestTrace,
    Store,
    StoredApiKey,
    StoredNotification,
    StoredRecipe,
    open_store,
)

__all__ = [
    "Appended",
    "BuildLock",
    "GenerationWriter",
    "Generations",
    "RequestTrace",
    "Store",
    "StoredApiKey",
    "StoredNotification",
    "StoredRecipe",
    "open_store",
]
