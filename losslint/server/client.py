"""What the client can do, asked once."""

from __future__ import annotations

from dataclasses import dataclass

from lsprotocol import types
from pygls.capabilities import get_capability


@dataclass(frozen=True, slots=True)
class Client:
    """The abilities of the client that change what the server sends; each False where it does not say."""

    pulls: bool
    refreshes: bool
    refreshes_hints: bool
    shows_related: bool
    versioned_edits: bool
    watches: bool
    sends_configuration: bool
    registers_configuration: bool
    shows_documents: bool


def abilities(capabilities: types.ClientCapabilities) -> Client:
    """The abilities that a client's capabilities name."""

    def can(name: str) -> bool:
        return bool(get_capability(capabilities, name, False))

    return Client(
        pulls=get_capability(capabilities, "text_document.diagnostic") is not None,
        refreshes=can("workspace.diagnostics.refresh_support"),
        refreshes_hints=can("workspace.inlay_hint.refresh_support"),
        shows_related=can("text_document.publish_diagnostics.related_information"),
        versioned_edits=can("workspace.workspace_edit.document_changes"),
        watches=can("workspace.did_change_watched_files.dynamic_registration"),
        sends_configuration=can("workspace.configuration"),
        registers_configuration=can("workspace.did_change_configuration.dynamic_registration"),
        shows_documents=can("window.show_document.support"),
    )
