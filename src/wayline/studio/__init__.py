"""The studio: pages on which people look into the recommender, over the engine's public answers."""

from wayline.studio.mounting import mount

__all__ = ["mount"]
