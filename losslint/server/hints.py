"""The unit of each loss behind the name that is given it, as inlay hints."""

from __future__ import annotations

from lsprotocol import types

from losslint.findings import Range
from losslint.server import positions
from losslint.server.board import Known
from losslint.server.documents import Document
from losslint.server.hover import named_in, unit_text


def within(known: Known, document: Document, shown: Range, encoding: str) -> list[types.InlayHint]:
    """The hints of the lines that the client shows. A name with several units has one hint that names them all."""
    places: dict[Range, list[str]] = {}
    named = [one for one in named_in(known.units or (), document) if one.bound]
    for one in named:
        if shown.start_line <= one.range.end_line <= shown.end_line:
            units = places.setdefault(one.range, [])
            if one.unit not in units:
                units.append(one.unit)
    return [
        types.InlayHint(
            position=positions.to_client(place, document.lines, encoding).end,
            label=f": {' or '.join(units)}",
            kind=types.InlayHintKind.Type,
            tooltip=types.MarkupContent(
                types.MarkupKind.Markdown,
                unit_text([one for one in named if one.range == place], document, known.documents),
            ),
        )
        for place, units in sorted(places.items())
    ]
