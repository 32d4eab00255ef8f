"""Where lines go: plain text, or colours by way of rich, which is imported only then."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from typing import TextIO

from losslint.output.text import Line

PLAIN_WIDTH = 120
"""Cells of a line of code where the output is no terminal."""


def wants_colour(choice: str, stream: TextIO) -> bool:
    """Whether to colour: `always` and `never` are taken at their word, `auto` asks the environment and the stream."""
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def width(stream: TextIO) -> int:
    """How many cells a line may take."""
    return shutil.get_terminal_size().columns if stream.isatty() else PLAIN_WIDTH


def write(lines: Iterable[Line], stream: TextIO, colour: bool) -> None:
    """Write the lines, each piece in its style where `colour` is on; no piece is ever read as markup."""
    if not colour:
        for line in lines:
            stream.write("".join(text for text, _ in line) + "\n")
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, force_terminal=True, no_color=False, highlight=False, markup=False, emoji=False)
    for line in lines:
        pieces = Text.assemble(*((text, style.value) for text, style in line))
        console.print(pieces, soft_wrap=True)


def write_markdown(page: str, stream: TextIO) -> None:
    """Write a Markdown page as rich draws it on a terminal."""
    from rich.console import Console
    from rich.markdown import Markdown

    Console(file=stream, force_terminal=True).print(Markdown(page))
