"""An editor for tests: a real client that speaks to a real server over pipes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lsprotocol import types
from pytest_lsp import LanguageClient, client_capabilities, make_test_lsp_client

PROFILES = ("visual_studio_code", "neovim", "emacs")
PATIENCE = 12.0


class Editor:
    """A client with one workspace folder."""

    def __init__(self, client: LanguageClient, folder: Path) -> None:
        self.client = client
        self.folder = folder
        self._refreshed = asyncio.Event()
        self.watched: list[str] = []
        self.answer: types.InitializeResult | None = None
        self._versions: dict[str, int] = {}

    def uri(self, name: str) -> str:
        return (self.folder / name).as_uri()

    def open(self, name: str, text: str, save: bool = True) -> str:
        """Open a file with this text, which is on disk too if `save`."""
        if save:
            (self.folder / name).write_text(text, encoding="utf-8")
        uri = self.uri(name)
        self._versions[uri] = 1
        item = types.TextDocumentItem(uri, "python", 1, text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(item))
        return uri

    def edit(self, name: str, text: str) -> None:
        uri = self.uri(name)
        self._versions[uri] += 1
        self.client.text_document_did_change(
            types.DidChangeTextDocumentParams(
                types.VersionedTextDocumentIdentifier(self._versions[uri], uri),
                [types.TextDocumentContentChangeWholeDocument(text)],
            )
        )

    def close(self, name: str) -> None:
        identifier = types.TextDocumentIdentifier(self.uri(name))
        self.client.text_document_did_close(types.DidCloseTextDocumentParams(identifier))

    async def pull(self, name: str, previous: str | None = None) -> Any:
        identifier = types.TextDocumentIdentifier(self.uri(name))
        return await self._soon(
            self.client.text_document_diagnostic_async(
                types.DocumentDiagnosticParams(identifier, previous_result_id=previous)
            )
        )

    async def pushed(self, uri: str, codes: list[str]) -> list[types.Diagnostic]:
        """Wait until the diagnostics of a document have these codes."""
        while (found := [str(one.code) for one in self.client.diagnostics.get(uri, [])]) != codes:
            try:
                await self._soon(self.client.wait_for_notification("textDocument/publishDiagnostics"))
            except asyncio.TimeoutError:
                log = "\n".join(
                    [one.message for one in self.client.messages] + [one.message for one in self.client.log_messages]
                )
                raise AssertionError(f"{found} are shown in {uri} and not {codes}; the server said:\n{log}") from None
        return list(self.client.diagnostics.get(uri, []))

    async def published(self) -> None:
        """Wait for the next diagnostics."""
        await self._soon(self.client.wait_for_notification("textDocument/publishDiagnostics"))

    async def asked_to_pull(self) -> None:
        """Wait until the server wants the client to ask for diagnostics again."""
        await self._soon(self._refreshed.wait())

    async def told(self, words: str) -> str:
        """Wait for a message to the user."""
        while not (found := [one.message for one in self.client.messages if words in one.message]):
            await self._soon(self.client.wait_for_notification("window/showMessage"))
        return found[0]

    async def hover(self, uri: str, line: int, character: int) -> str:
        """What is shown at a place (0-based), empty for nothing."""
        params = types.HoverParams(types.TextDocumentIdentifier(uri), types.Position(line, character))
        found = await self._soon(self.client.text_document_hover_async(params))
        return "" if found is None else str(found.contents.value)

    async def actions(self, uri: str, line: int, only: list[str] | None = None) -> list[Any]:
        place = types.Range(types.Position(line, 0), types.Position(line, 0))
        params = types.CodeActionParams(types.TextDocumentIdentifier(uri), place, types.CodeActionContext([], only))
        return list(await self._soon(self.client.text_document_code_action_async(params)) or [])

    async def run(self, command: str, *arguments: object, patience: float = PATIENCE) -> None:
        params = types.ExecuteCommandParams(command, list(arguments))
        await asyncio.wait_for(self.client.workspace_execute_command_async(params), patience)

    async def hints(self, uri: str, lines: int) -> list[types.InlayHint]:
        place = types.Range(types.Position(0, 0), types.Position(lines, 0))
        params = types.InlayHintParams(types.TextDocumentIdentifier(uri), place)
        return list(await self._soon(self.client.text_document_inlay_hint_async(params)) or [])

    @staticmethod
    async def _soon(awaited: Any) -> Any:
        return await asyncio.wait_for(awaited, PATIENCE)


@asynccontextmanager
async def editor(
    folder: Path,
    profile: str = "visual_studio_code",
    options: object = None,
    change: Any = lambda capabilities: None,
    configuration: dict[str, Any] | None = None,
) -> AsyncIterator[Editor]:
    """A session of an editor in a folder; `change` alters what the profile says that the client can do."""
    client = make_test_lsp_client()
    if configuration is not None:
        client.set_configuration(configuration)
    one = Editor(client, folder)

    def registered(params: types.RegistrationParams) -> None:
        one.watched += [registration.method for registration in params.registrations]

    def refreshed(params: None) -> None:
        one._refreshed.set()

    client.feature(types.CLIENT_REGISTER_CAPABILITY)(registered)
    client.protocol.fm.features[types.WORKSPACE_DIAGNOSTIC_REFRESH] = refreshed

    await client.start_io(sys.executable, "-m", "losslint", "server")
    capabilities = client_capabilities(profile)
    change(capabilities)
    one.answer = await client.initialize_session(
        types.InitializeParams(
            capabilities,
            root_uri=folder.as_uri(),
            workspace_folders=[types.WorkspaceFolder(folder.as_uri(), folder.name)],
            initialization_options=options,
        )
    )
    try:
        yield one
    finally:
        await client.shutdown_session()


def after(text: str, edits: Any) -> str:
    """A text after the edits of the server, whose positions count UTF-16 units of ASCII text."""
    lines = text.split("\n")
    for edit in sorted(edits, key=lambda one: (one.range.start.line, one.range.start.character), reverse=True):
        start, end = edit.range.start, edit.range.end
        head, tail = lines[start.line][: start.character], lines[end.line][end.character :]
        lines[start.line : end.line + 1] = (head + edit.new_text + tail).split("\n")
    return "\n".join(lines)
