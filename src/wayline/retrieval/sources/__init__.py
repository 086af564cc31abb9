"""Candidate sources: one file each, a class with one method."""
