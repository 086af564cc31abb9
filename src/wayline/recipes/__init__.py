"""What a team sets over the recipe that builds find: checked settings, kept in versions with a note, each undone."""

from wayline.recipes.dials import Dial, dials
from wayline.recipes.edits import check_edits, tuned
from wayline.recipes.versions import Recipes

__all__ = ["Dial", "Recipes", "check_edits", "dials", "tuned"]
