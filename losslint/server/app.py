"""The language server: what the client may ask, and who answers."""

from __future__ import annotations

import os
import sys

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from losslint import __version__, selection
from losslint.server import actions, diagnostics, hints, hover, positions
from losslint.server.actions import Actions
from losslint.server.board import Board
from losslint.server.client import Client, abilities
from losslint.server.documents import Documents, is_python
from losslint.server.settings import read as read_settings
from losslint.server.verification import VerificationError, verify
from losslint.server.watching import Watch

WATCHED = ("**/pyproject.toml", "**/.gitignore", "**/*.py")
"""Files whose change on disk may change what is found."""

SECTION = "losslint"


class LosslintServer(LanguageServer):
    """The server with what it knows."""

    def __init__(self) -> None:
        python = types.NotebookCellLanguage("python")
        super().__init__(
            "losslint",
            __version__,
            # texts are sent whole: pygls takes a form feed for a line end when it applies a change to a part of one
            text_document_sync_kind=types.TextDocumentSyncKind.Full,
            notebook_document_sync=types.NotebookDocumentSyncOptions(
                [types.NotebookDocumentFilterWithNotebook("jupyter-notebook", [python])]
            ),
        )
        self.board = Board(self)
        self.watch = Watch(self.board.changed)
        self.stopped = False
        self._client: Client | None = None

    # ------------------------------------------------------------ what the board needs

    def documents(self) -> Documents:
        """What is open now."""
        return Documents(self.workspace)

    @property
    def encoding(self) -> str:
        """The negotiated encoding that positions count in."""
        return str(getattr(self.workspace.position_encoding, "value", self.workspace.position_encoding))

    @property
    def client(self) -> Client:
        """What the client can do."""
        if self._client is None:
            self._client = abilities(self.client_capabilities)
        return self._client

    def publish(self, uri: str, version: int | None, found: list[types.Diagnostic]) -> None:
        """Send the diagnostics of a document to a client that does not ask for them."""
        self.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, found, version))

    def refresh_diagnostics(self) -> None:
        """Have the client ask for diagnostics again."""
        self.workspace_diagnostic_refresh(None)

    def log(self, message: str) -> None:
        """A line in the client's log."""
        self.window_log_message(types.LogMessageParams(types.MessageType.Info, message))

    def complain(self, message: str) -> None:
        """Something that the user has to see."""
        self.tell(types.MessageType.Error, message)

    def tell(self, kind: types.MessageType, message: str) -> None:
        """A message to the user."""
        self.window_show_message(types.ShowMessageParams(kind, f"losslint: {message}"))

    # ------------------------------------------------------------ settings

    def configure(self, sent: object) -> None:
        """Take over the settings that the client sent."""
        settings, wrong = read_settings(sent)
        if wrong:
            self.complain("; ".join(wrong))
        if settings != self.board.settings:
            shown = self.board.settings.inlay_hints != settings.inlay_hints
            self.board.settings = settings
            self.board.changed(at_once=True)
            if shown and self.client.refreshes_hints:
                self.workspace_inlay_hint_refresh(None)

    async def ask_settings(self) -> None:
        """Ask the client for its settings, and take them over where it has any."""
        items = [types.ConfigurationItem(section=SECTION)]
        sent = await self.workspace_configuration_async(types.ConfigurationParams(items))
        if sent and sent[0]:
            self.configure(sent[0])


def build() -> LosslintServer:
    """The server with all of its features."""
    server = LosslintServer()
    _lifecycle(server)
    _synchronisation(server)
    _diagnostics(server)
    _actions(server)
    _pointing(server)
    return server


def serve() -> bool:
    """Serve on standard input and output until the client ends it; whether it said good-bye as the protocol asks."""
    stdout = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # nothing that is printed by mistake may end up in the protocol
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    server = build()
    try:
        server.start_io(stdout=stdout)
    finally:
        server.board.end()
    return server.stopped


def _lifecycle(server: LosslintServer) -> None:
    @server.feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        settings, wrong = read_settings(params.initialization_options)
        server.board.settings = settings
        for message in wrong:
            server.log(message)

    @server.feature(types.INITIALIZED)
    async def initialized(params: types.InitializedParams) -> None:
        server.log(f"losslint {__version__}, Python {sys.version.split()[0]}, positions in {server.encoding}")
        if server.client.sends_configuration:
            await server.ask_settings()
        registrations = []
        if server.client.watches:
            watchers = [types.FileSystemWatcher(pattern) for pattern in WATCHED]
            options = types.DidChangeWatchedFilesRegistrationOptions(watchers)
            registrations.append(
                types.Registration("losslint-files", types.WORKSPACE_DID_CHANGE_WATCHED_FILES, options)
            )
        else:
            server.watch.start(lambda: server.documents().texts)
        if server.client.registers_configuration:
            section = types.DidChangeConfigurationRegistrationOptions(section=SECTION)
            registrations.append(
                types.Registration("losslint-settings", types.WORKSPACE_DID_CHANGE_CONFIGURATION, section)
            )
        if registrations:
            await server.client_register_capability_async(types.RegistrationParams(registrations))

    @server.feature(types.SHUTDOWN)
    def shutdown(params: None) -> None:
        server.stopped = True
        server.watch.stop()
        server.board.end()


def _synchronisation(server: LosslintServer) -> None:
    board = server.board

    def is_ours(uri: str) -> bool:
        return is_python(server.workspace.get_text_document(uri))

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def opened(params: types.DidOpenTextDocumentParams) -> None:
        if is_ours(params.text_document.uri):
            board.changed(at_once=True)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def edited(params: types.DidChangeTextDocumentParams) -> None:
        if is_ours(params.text_document.uri):
            board.changed()

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    def saved(params: types.DidSaveTextDocumentParams) -> None:
        board.changed(at_once=True)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: types.DidCloseTextDocumentParams) -> None:
        board.closed(params.text_document.uri)

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_OPEN)
    def notebook_opened(params: types.DidOpenNotebookDocumentParams) -> None:
        board.changed(at_once=True)

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CHANGE)
    def notebook_edited(params: types.DidChangeNotebookDocumentParams) -> None:
        board.changed()

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_SAVE)
    def notebook_saved(params: types.DidSaveNotebookDocumentParams) -> None:
        board.changed(at_once=True)

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CLOSE)
    def notebook_closed(params: types.DidCloseNotebookDocumentParams) -> None:
        for cell in params.cell_text_documents:
            board.closed(cell.uri)

    @server.feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def files_changed(params: types.DidChangeWatchedFilesParams) -> None:
        board.changed()

    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    async def settings_changed(params: types.DidChangeConfigurationParams) -> None:
        if server.client.sends_configuration:
            await server.ask_settings()
        else:
            server.configure(params.settings)


def _diagnostics(server: LosslintServer) -> None:
    board = server.board
    options = types.DiagnosticOptions(
        inter_file_dependencies=True, workspace_diagnostics=False, identifier=diagnostics.SOURCE
    )

    @server.feature(types.TEXT_DOCUMENT_DIAGNOSTIC, options)
    async def pull(params: types.DocumentDiagnosticParams) -> types.DocumentDiagnosticReport:
        uri = params.text_document.uri
        found = board.diagnostics(await board.known(), uri)
        name = diagnostics.result_id(found)
        board.pulled(uri, name)
        if params.previous_result_id == name:
            return types.RelatedUnchangedDocumentDiagnosticReport(name)
        return types.RelatedFullDocumentDiagnosticReport(found, result_id=name)


def _actions(server: LosslintServer) -> None:
    board = server.board

    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions(actions.KINDS))
    async def code_actions(params: types.CodeActionParams) -> list[types.CodeAction]:
        known = await board.known()
        document = known.documents.by_uri(params.text_document.uri)
        if document is None:
            return []
        place = positions.range_from_client(params.range, document.lines, server.encoding)
        found = Actions(board, known, document, server.client, server.encoding)
        return list(found.within(place, params.context.only))

    @server.command(actions.OPEN_RULE)
    async def open_rule(code: str) -> None:
        entry = selection.find(code)
        url = f"https://github.com/losslint/losslint/blob/main/docs/rules/{entry.name}.md"
        if server.client.shows_documents:
            await server.window_show_document_async(types.ShowDocumentParams(url, external=True))
        else:
            server.tell(types.MessageType.Info, f"{entry.code} {entry.name}: {entry.summary} ({url})")

    @server.command(actions.VERIFY)
    async def verify_finding(uri: str, line: int, fingerprint: str) -> None:
        known = await board.known()
        document = known.documents.by_uri(uri)
        finding = next((one for one in known.findings.get(uri, ()) if one.fingerprint == fingerprint), None)
        if document is None or finding is None:
            server.complain(f"there is no such finding at line {line} any more")
            return
        if document.path.read_bytes() != known.documents.texts[document.path]:
            server.complain("save the file first: what is verified is what stands on the disk")
            return
        try:
            verdict = await verify(finding, document.path)
        except VerificationError as error:
            server.complain(str(error))
            return
        board.judge(finding, verdict, known)
        server.tell(types.MessageType.Info, f"{finding.code}: {diagnostics.verdict_words(verdict)}")


def _pointing(server: LosslintServer) -> None:
    board = server.board

    @server.feature(types.TEXT_DOCUMENT_HOVER)
    async def shown(params: types.HoverParams) -> types.Hover | None:
        known = await board.units()
        document = known.documents.by_uri(params.text_document.uri)
        if document is None:
            return None
        place = positions.from_client(params.position, document.lines, server.encoding)
        return hover.at(known, document, place, server.encoding)

    @server.feature(types.TEXT_DOCUMENT_INLAY_HINT)
    async def inlay_hints(params: types.InlayHintParams) -> list[types.InlayHint]:
        if not board.settings.inlay_hints:
            return []
        known = await board.units()
        document = known.documents.by_uri(params.text_document.uri)
        if document is None:
            return []
        place = positions.range_from_client(params.range, document.lines, server.encoding)
        return hints.within(known, document, place, server.encoding)
