"""Telling people about their journeys: who may be told what, in which words, and that it arrives once."""
