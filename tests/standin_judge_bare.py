"""The stand-in judge where the kernel offers neither Landlock nor prctl.

It is imported by the server before any process is forked, and every one of those starts with what it sets here.
"""

from __future__ import annotations

from standin_judge import portray as portray
from standin_judge import verify as verify

from losslint.runtime import jail

jail._landlock = lambda writable: 0
jail._prctl = lambda option, value: False
