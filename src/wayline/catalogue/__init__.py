"""Items as people look after them: found, seen from all sides, hidden and corrected."""

from wayline.catalogue.catalogue import Catalogue
from wayline.catalogue.records import ItemActions, ItemAudience, ItemInterest, ItemLiker

__all__ = ["Catalogue", "ItemActions", "ItemAudience", "ItemInterest", "ItemLiker"]
