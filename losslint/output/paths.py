"""Where a file stands for those who read a report elsewhere: a forge knows files by their path in the repository."""

from __future__ import annotations

import os
from urllib.parse import quote


def repository(variable: str) -> str:
    """The folder that the CI service checked out, which it names in an environment variable; else the working one."""
    named = os.environ.get(variable, "")
    here = os.getcwd()
    return named if named and os.path.isabs(named) and _is_below(here, named) else here


def inside(path: str, root: str) -> str | None:
    """A path of a finding as a posix path relative to `root`, None for a file that lies elsewhere."""
    absolute = os.path.abspath(path)
    return os.path.relpath(absolute, root).replace(os.sep, "/") if _is_below(absolute, root) else None


def uri(path: str) -> str:
    """A relative path as a relative reference, an absolute one as a `file:` URI; names that are no text included."""
    quoted = quote(os.fsencode(path.replace(os.sep, "/")))
    if not os.path.isabs(path):
        return quoted
    return f"file://{quoted}" if quoted.startswith("/") else f"file:///{quoted}"


def _is_below(path: str, root: str) -> bool:
    return os.path.join(path, "").startswith(os.path.join(root, ""))
