"""What is known of the open documents: analysed anew after each change, told to clients that ask and that wait.

A change makes what is known outdated. One analysis runs at a time; its result counts for the texts that it read.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lsprotocol import types

from losslint.findings import Finding, Verdict
from losslint.server import diagnostics
from losslint.server.analysis import Findings, Question
from losslint.server.client import Client
from losslint.server.documents import Documents, absolute_path
from losslint.server.process import AnalysisError, Analyst
from losslint.server.settings import Settings
from losslint.sightings import NamedUnit

PATIENCE = 0.3
"""Seconds that a client has to ask for what changed in other documents before it is told to."""


class Server(Protocol):
    """What the board needs of the language server."""

    def documents(self) -> Documents: ...
    @property
    def encoding(self) -> str: ...
    @property
    def client(self) -> Client: ...
    def publish(self, uri: str, version: int | None, found: list[types.Diagnostic]) -> None: ...
    def refresh_diagnostics(self) -> None: ...
    def log(self, message: str) -> None: ...
    def complain(self, message: str) -> None: ...


@dataclass(slots=True)
class Known:
    """The result of one analysis: the texts that it read, and what it found in which document, by URI."""

    moment: int
    documents: Documents
    findings: dict[str, list[Finding]] = field(default_factory=dict)
    problems: dict[str, list[types.Diagnostic]] = field(default_factory=dict)
    units: tuple[NamedUnit, ...] | None = None


class Board:
    """Holds what is known and keeps it up to date."""

    def __init__(self, server: Server) -> None:
        self.settings = Settings()
        self._server = server
        self._analyst = Analyst(server.log)
        self._moment = 0
        self._known: Known | None = None
        self._running: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._quiet_at = 0.0
        self._pushed: dict[str, str] = {}
        self._pulled: dict[str, str] = {}
        self._verdicts: dict[str, tuple[Verdict, bytes]] = {}
        self._said: str = ""
        self._deadly: dict[Path, bytes] = {}
        """The texts over which the analysing process died: they are not judged again until they change."""

    # ------------------------------------------------------------ changes

    def changed(self, at_once: bool = False) -> None:
        """Something that findings depend on is no longer what it was; it is analysed when the typing rests."""
        self._moment += 1
        loop = asyncio.get_running_loop()
        delay = 0.0 if at_once else self.settings.debounce / 1000
        self._quiet_at = loop.time() + delay
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(delay, self._start)

    def closed(self, uri: str) -> None:
        """A document was closed: what was shown in it goes, and comes back only where another one leads to it."""
        self._pulled.pop(uri, None)
        self._push(uri, None, [])
        self.changed()

    def end(self) -> None:
        """End the analysing process and forget what was to be done."""
        if self._timer is not None:
            self._timer.cancel()
        self._analyst.end()

    # ------------------------------------------------------------ questions

    async def known(self) -> Known:
        """What is known of the texts as they are now, once the typing rests."""
        wanted = self._moment
        rest = self._quiet_at - asyncio.get_running_loop().time()
        if rest > 0:
            await asyncio.sleep(rest)
        while self._known is None or self._known.moment < wanted:
            await asyncio.shield(self._start())
        return self._known

    async def units(self) -> Known:
        """What is known, with the units of names."""
        known = await self.known()
        if known.units is None:
            try:
                known.units = await self._analyst.units(self._question(known.documents, units=True))
            except AnalysisError as error:
                self._server.log(str(error))
                known.units = ()
        return known

    def diagnostics(self, known: Known, uri: str) -> list[types.Diagnostic]:
        """The diagnostics of a document."""
        server = self._server
        of_findings = [
            diagnostics.of_finding(
                finding, known.documents, server.encoding, self.verdict(finding, known), server.client.shows_related
            )
            for finding in known.findings.get(uri, ())
        ]
        return of_findings + known.problems.get(uri, [])

    def pulled(self, uri: str, result_id: str) -> None:
        """The client has these diagnostics of a document."""
        self._pulled[uri] = result_id

    # ------------------------------------------------------------ verdicts

    def verdict(self, finding: Finding, known: Known) -> Verdict | None:
        """What the verifier said of a finding; nothing once its file has changed."""
        verdict, text = self._verdicts.get(finding.fingerprint, (None, None))
        return verdict if text == known.documents.texts.get(absolute_path(finding.path)) else None

    def judge(self, finding: Finding, verdict: Verdict, known: Known) -> None:
        """Remember a verdict, and show it."""
        text = known.documents.texts.get(absolute_path(finding.path))
        if text is not None:
            self._verdicts[finding.fingerprint] = (verdict, text)
            if known is self._known:
                self._tell(known)

    # ------------------------------------------------------------ the analysis

    def _start(self) -> asyncio.Task[None]:
        """The analysis that runs, or a new one."""
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(self._analyse_or_say_why_not())
        return self._running

    async def _analyse_or_say_why_not(self) -> None:
        moment = self._moment
        try:
            await self._analyse()
        except Exception as error:
            self._server.log(traceback.format_exc())
            self._say(f"internal error ({type(error).__name__}: {error}); please report it with the server's log")
            # what is known stays, and who waits is answered with it
            if self._known is None:
                self._known = Known(moment, self._server.documents())
            self._known.moment = moment

    async def _analyse(self) -> None:
        moment, documents = self._moment, self._server.documents()
        try:
            found = await self._analyst.findings(self._question(documents))
        except AnalysisError as error:
            found = await self._without_the_deadly(documents, str(error))
        self._complain_about(found)
        before = self._known.findings if self._known is not None else {}
        if found.problems or found.complaints:
            # as the command line does, nothing is judged by a configuration that cannot be used: what is shown stays
            findings = before
        else:
            findings = _by_document(found, documents)
            failed = {documents.at(file.name, None).path for file in found.files if file.failure is not None}
            kept = (document.uri for document in documents if document.path in failed)
            findings.update({uri: before[uri] for uri in kept if uri in before})
        self._known = Known(moment, documents, findings, dict(diagnostics.by_file(found.problems)))
        if moment == self._moment:
            self._tell(self._known)
        else:
            self._start_again()

    def _question(self, documents: Documents, units: bool = False) -> Question:
        judged = (path for path, text in documents.texts.items() if self._deadly.get(path) != text)
        return Question(documents.texts, frozenset(judged), self.settings, units)

    async def _without_the_deadly(self, documents: Documents, reason: str) -> Findings:
        """The process died: ask about each file alone, to find out over which, and then about the others."""
        for path, text in documents.texts.items():
            if self._deadly.get(path) != text:
                try:
                    await self._analyst.findings(Question(documents.texts, frozenset([path]), self.settings))
                except AnalysisError as error:
                    self._deadly[path] = text
                    self._server.log(f"{path}: {error}, and the file is not checked until it changes")
        self._say(reason)
        try:
            return await self._analyst.findings(self._question(documents))
        except AnalysisError as error:
            self._server.log(str(error))
            return Findings()

    def _start_again(self) -> None:
        """What was read is outdated already; where no timer waits for the typing to rest, go on at once."""
        if self._timer is None or self._timer.cancelled() or self._timer.when() <= asyncio.get_running_loop().time():
            asyncio.get_running_loop().call_soon(self._start)

    def _complain_about(self, found: Findings) -> None:
        for file in found.files:
            if file.failure is not None:
                self._server.log(f"{file.name}: {file.failure}\n{file.detail}".rstrip())
            for note in file.notes:
                self._server.log(f"{file.name}: {note}")
        self._say("; ".join((*found.complaints, *map(str, found.problems))))

    def _say(self, message: str) -> None:
        """Tell the user, once."""
        if message and message != self._said:
            self._server.complain(message)
        self._said = message

    # ------------------------------------------------------------ telling

    def _tell(self, known: Known) -> None:
        versions = {document.uri: document.version for document in known.documents if document.version is not None}
        asks = self._server.client.pulls
        for uri in {*known.findings, *known.problems, *versions, *self._pushed}:
            if uri in versions and asks:
                self._push(uri, None, [])
            else:
                self._push(uri, versions.get(uri), self.diagnostics(known, uri))
        if asks and self._server.client.refreshes:
            asyncio.get_running_loop().call_later(PATIENCE, self._remind, known, tuple(versions))

    def _push(self, uri: str, version: int | None, found: list[types.Diagnostic]) -> None:
        """Publish, unless that is what the client has; of an open document it is told again, as it may have moved."""
        if found or uri in self._pushed or version is not None:
            name = diagnostics.result_id(found)
            if version is not None or self._pushed.get(uri) != name:
                self._server.publish(uri, version, found)
            if found:
                self._pushed[uri] = name
            else:
                self._pushed.pop(uri, None)

    def _remind(self, known: Known, uris: Iterable[str]) -> None:
        """Have the client ask again where another document's change made a difference."""
        if known is self._known and any(
            diagnostics.result_id(self.diagnostics(known, uri)) != self._pulled.get(uri) for uri in uris
        ):
            self._server.refresh_diagnostics()


def _by_document(found: Findings, documents: Documents) -> dict[str, list[Finding]]:
    findings: dict[str, list[Finding]] = {}
    for file in found.files:
        for finding in file.findings:
            findings.setdefault(documents.at(finding.path, finding.cell).uri, []).append(finding)
    return findings
