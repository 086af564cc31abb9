"""Who may call: API keys that the workspace keeps, each with the most that it may do."""

from wayline.access.keys import Access, Grant
from wayline.access.scopes import Scope

__all__ = ["Access", "Grant", "Scope"]
