"""Fingerprints: the same finding keeps its name when lines move."""

from __future__ import annotations


def fingerprint(code: str, path: str, statement: str, occurrence: int) -> str:
    """The SHA-256 of a finding's code, posix path, whitespace-normalised statement and occurrence index.

    `occurrence` counts from 0 among the findings of one file that share code and statement.
    """
    # loading OpenSSL takes longer than a run that finds nothing
    import hashlib

    parts = (code, path, " ".join(statement.split()), str(occurrence))
    return hashlib.sha256("\0".join(parts).encode("utf-8", errors="surrogateescape")).hexdigest()
