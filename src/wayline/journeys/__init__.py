"""Journeys (User Journeys 2025): what a person is on, named, staged and ranked.

Keywords of items and searches, clusters of what a person did, a name for each, whether it goes on, and which to
tell of.
"""
