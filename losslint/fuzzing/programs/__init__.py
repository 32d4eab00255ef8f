"""Writes programs, one axis of their making in each file."""
