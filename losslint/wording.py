"""How messages read: lower case, without a final stop."""

from __future__ import annotations


def lowered(message: str) -> str:
    """Another library's message, as the tail of one of ours."""
    return message[:1].lower() + message[1:]
