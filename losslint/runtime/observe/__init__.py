"""Observe mode: the user's real script runs for a few optimizer steps, and its weights are read off by hooks.

`facts`, `records`, `judge` and `report` know nothing of torch; `observer` and what it imports do.
"""
