"""What can be done about a finding: its fix, a comment that silences it, the rule's page, a run that verifies it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from lsprotocol import types

from losslint.findings import Applicability, Edit, Finding, Fix, Range
from losslint.fixes.apply import apply, compatible
from losslint.server import positions
from losslint.server.board import Board, Known
from losslint.server.client import Client
from losslint.server.documents import Document, Documents
from losslint.suppressions import suppressions
from losslint.toolcodes import TOOL_CODES

FIX_ALL = "source.fixAll.losslint"
OPEN_RULE = "losslint.openRule"
VERIFY = "losslint.verify"
KINDS = (types.CodeActionKind.QuickFix.value, FIX_ALL)

_TOOL_CODES = frozenset(code.code for code in TOOL_CODES)
_HEAD = re.compile(r"#!|[ \t\f]*#.*?coding[:=]")
_IGNORE = re.compile(r"#\s*losslint:\s*(?:file-)?ignore\s*\[")


class Actions:
    """The code actions of one document."""

    def __init__(self, board: Board, known: Known, document: Document, client: Client, encoding: str) -> None:
        self._board = board
        self._known = known
        self._document = document
        self._client = client
        self._encoding = encoding

    def within(self, place: Range, wanted: Sequence[str] | None) -> Iterator[types.CodeAction]:
        """The actions for a range, of the wanted kinds (all where None)."""
        if _is_wanted(types.CodeActionKind.QuickFix.value, wanted):
            findings = self._known.findings.get(self._document.uri, [])
            here = [one for one in findings if _meet(one.range, place)]
            shown = dict(zip(map(id, findings), self._board.diagnostics(self._known, self._document.uri), strict=False))
            for finding in here:
                yield from self._about(finding, [shown[id(finding)]])
        if _is_wanted(FIX_ALL, wanted):
            yield from self._fix_all()

    def _about(self, finding: Finding, shown: list[types.Diagnostic]) -> Iterator[types.CodeAction]:
        quick_fix = types.CodeActionKind.QuickFix
        if finding.fix is not None:
            safe = finding.fix.applicability is Applicability.SAFE
            yield types.CodeAction(
                f"{finding.fix.title} ({finding.code})" if safe else f"{finding.fix.title} ({finding.code}, unsafe)",
                quick_fix,
                shown,
                is_preferred=safe,
                edit=self._edit(finding.fix.edits),
            )
        if finding.code not in _TOOL_CODES:
            for title, edit in (
                (f"suppress {finding.name} on this line", on_line(finding, self._document)),
                (
                    f"suppress {finding.name} in this file",
                    in_file(finding, _first(self._document, self._known.documents)),
                ),
            ):
                if edit is not None:
                    yield types.CodeAction(title, quick_fix, shown, edit=self._edit([edit]))
            title = f"verify {finding.code} by running a tiny step"
            arguments = [self._document.uri, finding.range.start_line, finding.fingerprint]
            yield types.CodeAction(title, quick_fix, shown, command=types.Command(title, VERIFY, arguments=arguments))
        title = f"open the page of {finding.name}"
        yield types.CodeAction(
            title, quick_fix, shown, command=types.Command(title, OPEN_RULE, arguments=[finding.code])
        )

    def _fix_all(self) -> Iterator[types.CodeAction]:
        fixes = [
            finding.fix
            for finding in self._known.findings.get(self._document.uri, ())
            if finding.fix is not None and finding.fix.applicability is Applicability.SAFE
        ]
        chosen: list[Fix] = compatible(fixes)
        if chosen:
            edit = self._edit([edit for fix in chosen for edit in fix.edits])
            yield types.CodeAction("fix all of losslint's findings that have a safe fix", FIX_ALL, edit=edit)

    def _edit(self, edits: Iterable[Edit]) -> types.WorkspaceEdit:
        by_document: dict[str, tuple[Document, list[types.TextEdit]]] = {}
        for edit in edits:
            document = self._known.documents.at(edit.path, edit.cell)
            where = positions.to_client(edit.range, document.lines, self._encoding)
            by_document.setdefault(document.uri, (document, []))[1].append(types.TextEdit(where, edit.text))
        if not self._client.versioned_edits:
            return types.WorkspaceEdit({uri: edits for uri, (_, edits) in by_document.items()})
        return types.WorkspaceEdit(
            document_changes=[
                types.TextDocumentEdit(
                    types.OptionalVersionedTextDocumentIdentifier(uri, document.version), list(edits)
                )
                for uri, (document, edits) in by_document.items()
            ]
        )


def on_line(finding: Finding, document: Document) -> Edit | None:
    """A comment that silences the finding on its first line, or on its last where that line takes none."""
    for line in dict.fromkeys((finding.range.start_line, finding.range.end_line)):
        text = document.lines[line - 1]
        if text.rstrip().endswith("\\"):
            continue
        for comment in suppressions(document.text):
            if comment.range.start_line == line and not comment.whole_file and comment.codes:
                return _added(finding, document, comment.range)
        column = len(text.rstrip()) + 1
        place = Range(line, column, line, len(text) + 1)
        edit = Edit(finding.path, place, f"  # losslint: ignore[{finding.name}]", document.cell)
        if _silences(finding, document, edit):
            return edit
    return None


def in_file(finding: Finding, document: Document) -> Edit | None:
    """A comment that silences the finding's code in the whole file, at its top."""
    for comment in suppressions(document.text):
        if comment.whole_file and comment.codes:
            return _added(finding, document, comment.range)
    line = 1
    while line <= min(2, len(document.lines)) and _HEAD.match(document.lines[line - 1]):
        line += 1
    newline = "\r\n" if "\r\n" in document.text else "\n"
    place = Range(line, 1, line, 1)
    return Edit(finding.path, place, f"# losslint: file-ignore[{finding.name}]{newline}", document.cell)


def _added(finding: Finding, document: Document, comment: Range) -> Edit:
    """The finding's name, put in front of the names that a comment has."""
    line = document.lines[comment.start_line - 1]
    bracket = _IGNORE.match(line, comment.start_column - 1)
    assert bracket is not None
    column = bracket.end() + 1
    place = Range(comment.start_line, column, comment.start_line, column)
    return Edit(finding.path, place, f"{finding.name}, ", document.cell)


def _silences(finding: Finding, document: Document, edit: Edit) -> bool:
    """Whether the edit makes a comment: behind a backslash or inside a string it does not."""
    comments = suppressions(apply(document.text, [edit]))
    here = replace(finding, cell=None)
    return any(comment.covers(here, finding.name) for comment in comments)


def _first(document: Document, documents: Documents) -> Document:
    """The first document of a file: the first cell of a notebook."""
    cells = [one for one in documents if one.path == document.path]
    return min(cells, key=lambda one: one.cell or 0, default=document)


def _is_wanted(kind: str, wanted: Sequence[str] | None) -> bool:
    """Whether a kind, or a group that it belongs to, is asked for; a plain menu has no room for source actions."""
    if wanted is None:
        return kind == types.CodeActionKind.QuickFix.value
    return any(kind == one or kind.startswith(f"{one}.") for one in wanted)


def _meet(first: Range, second: Range) -> bool:
    """Whether two ranges share a line: a cursor anywhere on the line of a finding is about it."""
    return first.start_line <= second.end_line and second.start_line <= first.end_line
