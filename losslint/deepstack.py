"""Room for code that is nested deeper than Python's stack is meant for: generated expressions of thousands of terms."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

Result = TypeVar("Result")

STACK_BYTES = 512 * 1024 * 1024
"""Address space; memory is only taken for what is used of it."""
MAX_DEPTH = 60_000
"""Calls inside each other, for which `STACK_BYTES` is enough on every Python that is supported."""


def with_deep_stack(work: Callable[[], Result]) -> Result:
    """The result of `work`, run in a thread of its own with a large stack. Raises what `work` raises."""
    results: list[Result] = []
    errors: list[BaseException] = []
    context = copy_context()

    def run() -> None:
        try:
            results.append(context.run(work))
        except BaseException as error:
            errors.append(error)

    limit = sys.getrecursionlimit()
    size = threading.stack_size(STACK_BYTES)
    try:
        thread = threading.Thread(target=run, daemon=True)
        sys.setrecursionlimit(MAX_DEPTH)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(size)
        sys.setrecursionlimit(limit)
    if errors:
        raise errors[0]
    return results[0]
