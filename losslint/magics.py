"""What only IPython understands in a notebook's cell, masked in place: lines and columns stay as they are.

Masked are lines that begin with `%`, `!` or `?`, questions such as `loader?`, what is assigned from a magic or a shell
command (`files = !ls`), and the commands that notebooks take without a sign (`pip install torch`).
"""

from __future__ import annotations

import re

_PYTHON_CELLS = frozenset("capture debug heat ipytest memit mprun notify prun scalene time timeit wandb".split())
"""Cell magics whose cell is Python that shares its names with the other cells."""

_COMMAND = re.compile(
    r"""[ \t]*(?:
        (?=[%!?])
      | [A-Za-z_][\w., \t\[\]'"*]*=[ \t]*(?=[%!])
      | (?=(?:pip3?|conda|mamba|apt|apt-get|cd|ls|cat|cp|mv|rm|mkdir|wget|unzip)[ \t]+[-\w./~$])
      | (?=%?[A-Za-z_][^\r\n\#'"]*\?{1,2}[ \t]*(?:\#[^\r\n]*)?(?:[\r\n]|\Z))
    )""",
    re.VERBOSE,
)
"""What stands before a command, at the begin of a logical line."""
_REST_OF_COMMAND = re.compile(r"(?:\\(?:\r\n|.)|[^\\\r\n])*", re.DOTALL)
_VISIBLE = re.compile(r"[^\r\n]")
_PIECE = re.compile(r"\"\"\"|'''|[\"']|\#[^\r\n]*|[()\[\]{}]|\\(?:\r\n|[\r\n])|\r\n|\r|\n")
_STRINGS = {
    '"': re.compile(r'(?:[^\\\r\n"]|\\(?:\r\n|.))*"', re.DOTALL),
    "'": re.compile(r"(?:[^\\\r\n']|\\(?:\r\n|.))*'", re.DOTALL),
    '"""': re.compile(r'(?:[^\\]|\\.)*?"""', re.DOTALL),
    "'''": re.compile(r"(?:[^\\]|\\.)*?'''", re.DOTALL),
}


def masked(written: str) -> str | None:
    """The cell as Python, character for character as long as written; None for a cell in another language.

    A command is an unknown value in the analysed program: the name `__`, which nothing assigns.
    """
    head = written.lstrip()
    if head.startswith("%%") and re.split(r"\s", head[2:], maxsplit=1)[0] not in _PYTHON_CELLS:
        return None
    pieces: list[str] = []
    index = 0
    while index < len(written):
        command = _COMMAND.match(written, index)
        end = _end_of_statement(written, index)
        if command is not None:
            rest = _REST_OF_COMMAND.match(written, command.end())
            end = rest.end() if rest is not None else end
            blank = _VISIBLE.sub(" ", written[command.end() : end])
            pieces += [command[0], "__" if len(blank) > 1 else "_", blank[2:]]
            index = end
            end = _end_of_line(written, index)
        pieces.append(written[index:end])
        index = end
    return "".join(pieces)


def _end_of_line(written: str, index: int) -> int:
    """Behind the line end that stands at `index`."""
    if written.startswith("\r\n", index):
        return index + 2
    return min(index + 1, len(written))


def _end_of_statement(written: str, index: int) -> int:
    """Behind the line end of the logical line that begins at `index`."""
    depth = 0
    while (piece := _PIECE.search(written, index)) is not None:
        index = piece.end()
        found = piece[0]
        if found in _STRINGS:
            string = _STRINGS[found].match(written, index)
            index = string.end() if string is not None else index
        elif found in "([{":
            depth += 1
        elif found in ")]}":
            depth = max(depth - 1, 0)
        elif found in ("\r\n", "\r", "\n") and not depth:
            return index
    return len(written)
