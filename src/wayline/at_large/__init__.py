"""Everybody at once: which interests earn, which grow, where journeys lead, what came of what people were told."""

from wayline.at_large.at_large import AtLarge, InterestsAtLarge, JourneysAtLarge, ToldAtLarge
from wayline.at_large.earning import Earning
from wayline.at_large.groups import InterestGroups
from wayline.at_large.growth import Growth
from wayline.at_large.journeys import JourneyCount, Next
from wayline.at_large.told import Told

__all__ = [
    "AtLarge",
    "Earning",
    "Growth",
    "InterestGroups",
    "InterestsAtLarge",
    "JourneyCount",
    "JourneysAtLarge",
    "Next",
    "Told",
    "ToldAtLarge",
]
