"""What string literals mean: quotes, prefixes and escapes."""

from __future__ import annotations

import re

_ESCAPES = {
    "\n": "",
    "\\": "\\",
    "'": "'",
    '"': '"',
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
}
_ESCAPE = re.compile(
    r"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|N\{([^}]+)\}|(.))", re.DOTALL
)


def _escaped(match: re.Match[str]) -> str:
    octal, byte, short, long, name, other = match.groups()
    if octal is not None:
        return chr(int(octal, 8))
    code = byte or short or long
    if code is not None:
        value = int(code, 16)
        return chr(value) if value < 0x110000 else match.group()
    if name is not None:
        import unicodedata

        try:
            return unicodedata.lookup(name)
        except KeyError:
            return match.group()
    return _ESCAPES.get(other, match.group())


def unescaped(text: str, prefix: str) -> str:
    """The value of the text between the quotes of a literal whose letters before the quote are `prefix`."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\\" not in text or "r" in prefix:
        return text
    return _ESCAPE.sub(_escaped, text)


def literal_text(literal: str) -> str:
    """The value of one string literal; bytes are read as if each were a character."""
    quote = literal[-1]
    start = literal.index(quote)
    width = 3 if literal.startswith(quote * 3, start) and len(literal) >= start + 6 else 1
    inner = literal[start + width : -width]
    if "\\" not in inner and "\r" not in inner:
        return inner
    return unescaped(inner, literal[:start].lower())
