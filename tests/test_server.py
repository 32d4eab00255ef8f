"""The language server, as editors meet it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pygls", reason="the language server needs the extra `server`")
pytest.importorskip("pytest_lsp", reason="the tests of the language server need pytest-lsp")

from editor import PROFILES, after, editor
from lsprotocol import types

from losslint.cli import main

TRAIN = """\
import torch
from torch import nn

accum_steps = 4


def train(model, loader, optimizer):
    criterion = nn.CrossEntropyLoss()
    total = 0.0
    for i, (x, y) in enumerate(loader):
        loss = criterion(model(x), y) / accum_steps
        loss.backward()
        total += loss.item()
        if (i + 1) % accum_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
    return total / len(loader)
"""
CLEAN = TRAIN.replace("loss.item()", "loss.item() * accum_steps")
LINE = 12
"""The line of the finding in `TRAIN`, 0-based."""

HELPER = "def scaled(loss, n):\n    return loss / n\n"
CALLER = (
    TRAIN.replace("criterion(model(x), y) / accum_steps", "scaled(criterion(model(x), y), accum_steps)")
    .replace("total += loss.item()", "total += loss.item() * accum_steps")
    .replace("from torch import nn", "from torch import nn\nfrom helper import scaled")
)


def pulls(capabilities: types.ClientCapabilities) -> None:
    assert capabilities.text_document is not None
    assert capabilities.workspace is not None
    capabilities.text_document.diagnostic = types.DiagnosticClientCapabilities()
    capabilities.workspace.diagnostics = types.DiagnosticWorkspaceClientCapabilities(refresh_support=True)


def no_watching(capabilities: types.ClientCapabilities) -> None:
    assert capabilities.workspace is not None
    capabilities.workspace.did_change_watched_files = None


def codes(found: Any) -> list[str]:
    return [str(diagnostic.code) for diagnostic in found]


@pytest.mark.asyncio
@pytest.mark.parametrize("profile", PROFILES)
async def test_what_is_typed_is_linted(tmp_path: Path, profile: str) -> None:
    async with editor(tmp_path, profile) as one:
        uri = one.open("train.py", TRAIN)
        if profile == "neovim":
            # this one asks for diagnostics, and is not sent any
            assert codes((await one.pull("train.py")).items) == ["LL202"]
            one.edit("train.py", CLEAN)
            assert codes((await one.pull("train.py")).items) == []
            assert not one.client.diagnostics.get(uri)
            return
        (finding,) = await one.pushed(uri, ["LL202"])
        assert finding.code_description is not None
        assert finding.source == "losslint"
        assert finding.severity == types.DiagnosticSeverity.Error
        assert finding.code_description.href.endswith("/scaled-loss-accumulated.md")
        assert "true mean" in finding.message
        assert (finding.range.start.line, finding.range.start.character) == (LINE, 8)
        if profile == "visual_studio_code":
            assert [info.location.range.start.line for info in finding.related_information or ()][:2] == [10, 10]
        one.edit("train.py", CLEAN)
        await one.pushed(uri, [])
        one.edit("train.py", TRAIN)
        await one.pushed(uri, ["LL202"])
        one.close("train.py")
        await one.pushed(uri, [])


@pytest.mark.asyncio
async def test_pulled_diagnostics_and_what_did_not_change(tmp_path: Path) -> None:
    async with editor(tmp_path, change=pulls) as one:
        uri = one.open("train.py", TRAIN)
        first = await one.pull("train.py")
        assert codes(first.items) == ["LL202"]
        again = await one.pull("train.py", first.result_id)
        assert again.kind == "unchanged"
        assert again.result_id == first.result_id
        one.edit("train.py", CLEAN)
        third = await one.pull("train.py", first.result_id)
        assert codes(third.items) == []
        assert not one.client.diagnostics.get(uri)


@pytest.mark.asyncio
async def test_an_edit_in_an_open_helper_changes_its_caller(tmp_path: Path) -> None:
    async with editor(tmp_path) as one:
        helper = one.open("helper.py", HELPER)
        uri = one.open("train.py", CALLER)
        await one.pushed(uri, [])
        one.edit("helper.py", "def scaled(loss, n):\n    return loss\n")
        await one.pushed(uri, ["LL102", "LL201"] if len(one.client.diagnostics.get(uri, [])) == 2 else ["LL102"])
        assert not one.client.diagnostics.get(helper)


@pytest.mark.asyncio
async def test_a_finding_is_shown_in_the_file_that_it_lies_in(tmp_path: Path) -> None:
    helper = "def backpropagate(loss):\n    loss.backward()\n"
    caller = TRAIN.replace("loss.backward()", "backpropagate(loss)").replace(" / accum_steps", "")
    caller = caller.replace("from torch import nn", "from torch import nn\nfrom helper import backpropagate")
    (tmp_path / "helper.py").write_text(helper)
    async with editor(tmp_path) as one:
        one.open("train.py", caller)
        (finding,) = await one.pushed(one.uri("helper.py"), ["LL102"])
        assert finding.range.start.line == 1
        # so it is once that file is open, and its buffer has the say about it
        one.open("helper.py", helper)
        await one.pushed(one.uri("helper.py"), ["LL102"])
        one.edit("helper.py", helper.replace("ward()\n", "ward()  # losslint: ignore[LL102] on purpose\n"))
        await one.pushed(one.uri("helper.py"), [])


@pytest.mark.asyncio
async def test_configuration_is_read_again(tmp_path: Path) -> None:
    config = tmp_path / "pyproject.toml"
    config.write_text("[tool.losslint]\n")
    async with editor(tmp_path) as one:
        uri = one.open("train.py", TRAIN)
        await one.pushed(uri, ["LL202"])
        assert types.WORKSPACE_DID_CHANGE_WATCHED_FILES in one.watched
        config.write_text('[tool.losslint]\nignore = ["LL202"]\n')
        change = types.FileEvent(config.as_uri(), types.FileChangeType.Changed)
        one.client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams([change]))
        await one.pushed(uri, [])
        config.write_text('[tool.losslint]\nignor = ["LL202"]\n')
        one.client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams([change]))
        (problem,) = await one.pushed(config.as_uri(), ["LL003"])
        assert "did you mean `ignore`" in problem.message
        assert problem.range.start.line == 1
        assert "LL003" in await one.told("unknown key")
        config.write_text('[tool.losslint]\nexclude = ["train.py"]\n')
        one.client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams([change]))
        await one.pushed(config.as_uri(), [])
        await one.pushed(uri, [])


@pytest.mark.asyncio
async def test_what_the_baseline_holds_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    baseline = tmp_path / "known.json"
    main(["--isolated", f"--write-baseline={baseline}", str(tmp_path / "train.py")])
    (tmp_path / "pyproject.toml").write_text('[tool.losslint]\nbaseline = "known.json"\n')
    async with editor(tmp_path) as one:
        uri = one.open("train.py", TRAIN)
        await one.pushed(uri, [])
        one.edit("train.py", TRAIN.replace("total += loss.item()", "total += 1 * loss.item()"))
        await one.pushed(uri, ["LL202"])


@pytest.mark.asyncio
async def test_configuration_is_read_again_where_the_client_watches_nothing(tmp_path: Path) -> None:
    config = tmp_path / "pyproject.toml"
    config.write_text("[tool.losslint]\n")
    async with editor(tmp_path, change=no_watching) as one:
        uri = one.open("train.py", TRAIN)
        await one.pushed(uri, ["LL202"])
        assert types.WORKSPACE_DID_CHANGE_WATCHED_FILES not in one.watched
        config.write_text('[tool.losslint]\nignore = ["LL202"]\n')
        await one.pushed(uri, [])


@pytest.mark.asyncio
async def test_settings(tmp_path: Path) -> None:
    async with editor(tmp_path, "emacs", options={"settings": {"ignore": ["LL202"], "debounce": 0}}) as one:
        uri = one.open("train.py", TRAIN)
        await one.pushed(uri, [])
        sent: dict[str, Any] = {"losslint": {"ignore": ["LL2"], "select": ["LL20X"]}}
        one.client.set_configuration(sent)
        one.client.workspace_did_change_configuration(types.DidChangeConfigurationParams(sent))
        assert "unknown code or name `LL20X`" in await one.told("unknown code")
        sent = {"losslint": {"minSeverity": "eror", "slect": []}}
        one.client.set_configuration(sent)
        one.client.workspace_did_change_configuration(types.DidChangeConfigurationParams(sent))
        message = await one.told("slect")
        assert "did you mean `select`" in message
        assert "`losslint.minSeverity`: expected one of" in message
        await one.pushed(uri, ["LL202"])


@pytest.mark.asyncio
@pytest.mark.parametrize(("encoding", "extra"), [("utf-8", 3), ("utf-16", 1), ("utf-32", 0), (None, 1)])
async def test_positions_count_in_the_negotiated_encoding(tmp_path: Path, encoding: str | None, extra: int) -> None:
    def change(capabilities: types.ClientCapabilities) -> None:
        if encoding is not None:
            capabilities.general = types.GeneralClientCapabilities(
                position_encodings=[types.PositionEncodingKind(encoding)]
            )
        elif capabilities.general is not None:
            capabilities.general.position_encodings = None

    text = TRAIN.replace("        total += loss.item()", '        note = "\t😀"; total += loss.item()')
    async with editor(tmp_path, change=change) as one:
        assert one.answer is not None
        assert one.answer.capabilities.position_encoding == (encoding or "utf-16")
        uri = one.open("train.py", text)
        (finding,) = await one.pushed(uri, ["LL202"])
        column = text.split("\n")[LINE].index("total") + extra
        assert finding.range.start.character == column
        assert "total: batches/accum_steps" in await one.hover(uri, LINE, column + 1)
        action = next(a for a in await one.actions(uri, LINE) if "on this line" in a.title)
        (change_,) = action.edit.document_changes
        assert change_.edits[0].range.start.character == len(text.split("\n")[LINE]) + extra


@pytest.mark.asyncio
async def test_hover_tells_the_unit_of_a_loss_and_its_trail(tmp_path: Path) -> None:
    async with editor(tmp_path) as one:
        uri = one.open("train.py", TRAIN)
        text = await one.hover(uri, 10, 9)
        assert "loss: 1/accum_steps" in text
        assert "- line 11: mean loss of the batch → `1`" in text
        assert "- line 11: divided by `accum_steps` → `1/accum_steps`" in text
        on_total = await one.hover(uri, LINE, 9)
        assert "total: batches/accum_steps" in on_total
        assert "LL202" in on_total
        assert await one.hover(uri, 3, 2) == ""


@pytest.mark.asyncio
async def test_hover_on_a_suppression_tells_the_rule(tmp_path: Path) -> None:
    line = "        total += loss.item()"
    text = TRAIN.replace(line, f"{line}  # losslint: ignore[scaled-loss-accumulated] on purpose")
    async with editor(tmp_path) as one:
        uri = one.open("train.py", text)
        shown = await one.hover(uri, LINE, text.split("\n")[LINE].index("scaled-loss") + 3)
        assert shown.startswith("**LL202 scaled-loss-accumulated**")


@pytest.mark.asyncio
async def test_inlay_hints_are_a_choice(tmp_path: Path) -> None:
    async with editor(tmp_path) as one:
        assert await one.hints(one.open("train.py", TRAIN), 20) == []
    async with editor(tmp_path, options={"inlayHints": True}) as one:
        hints = await one.hints(one.open("train.py", TRAIN), 20)
        assert [(hint.position.line, hint.position.character, hint.label) for hint in hints] == [
            (10, 12, ": 1/accum_steps"),
            (12, 13, ": batches/accum_steps"),
        ]


@pytest.mark.asyncio
async def test_the_fix_and_all_fixes(tmp_path: Path) -> None:
    async with editor(tmp_path) as one:
        uri = one.open("train.py", TRAIN)
        found = await one.actions(uri, LINE)
        fix = found[0]
        assert fix.title.endswith("(LL202)") or fix.title.endswith("(LL202, unsafe)")
        (changes,) = fix.edit.document_changes
        assert changes.text_document.version == 1
        fixed = after(TRAIN, changes.edits)
        assert "loss.item() * accum_steps" in fixed
        all_fixes = await one.actions(uri, 0, ["source.fixAll"])
        safe = fix.is_preferred
        assert [action.kind for action in all_fixes] == (["source.fixAll.losslint"] if safe else [])
        one.edit("train.py", fixed)
        await one.pushed(uri, [])
        assert await one.actions(uri, LINE) == []


@pytest.mark.asyncio
async def test_suppressing(tmp_path: Path) -> None:
    async with editor(tmp_path) as one:
        uri = one.open("train.py", TRAIN)
        text = TRAIN
        for line, wanted in (
            ("total += loss.item()", "total += loss.item()  # losslint: ignore[scaled-loss-accumulated]"),
            (
                "total += loss.item()  # noqa",
                "total += loss.item()  # noqa  # losslint: ignore[scaled-loss-accumulated]",
            ),
            (
                "total += loss.item()  # losslint: ignore[LL210] why",
                "total += loss.item()  # losslint: ignore[scaled-loss-accumulated, LL210] why",
            ),
        ):
            text = TRAIN.replace("total += loss.item()", line)
            one.edit("train.py", text)
            action = next(a for a in await one.actions(uri, LINE) if a.title.endswith("on this line"))
            silenced = after(text, action.edit.document_changes[0].edits)
            assert wanted in silenced
            one.edit("train.py", silenced)
            await one.pushed(uri, ["LL002"] if "LL210" in silenced else [])
        head = "#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n"
        one.edit("train.py", head + TRAIN)
        action = next(a for a in await one.actions(uri, LINE + 2) if a.title.endswith("in this file"))
        silenced = after(head + TRAIN, action.edit.document_changes[0].edits)
        assert silenced.startswith(f"{head}# losslint: file-ignore[scaled-loss-accumulated]\n")
        one.edit("train.py", silenced)
        await one.pushed(uri, [])


@pytest.mark.asyncio
async def test_a_statement_over_several_lines_is_suppressed_where_a_comment_can_stand(tmp_path: Path) -> None:
    text = TRAIN.replace("total += loss.item()", "total += \\\n            loss.item()")
    async with editor(tmp_path) as one:
        uri = one.open("train.py", text)
        action = next(a for a in await one.actions(uri, LINE) if a.title.endswith("on this line"))
        assert "loss.item()  # losslint: ignore" in after(text, action.edit.document_changes[0].edits)


@pytest.mark.asyncio
async def test_the_page_of_a_rule_is_opened(tmp_path: Path) -> None:
    async with editor(tmp_path) as one:
        uri = one.open("train.py", TRAIN)
        assert any(action.title.startswith("open the page") for action in await one.actions(uri, LINE))
        await one.run("losslint.openRule", "LL202")
        shown = [document.uri for document in one.client.shown_documents]
        shown += [message.message for message in one.client.messages]
        assert "docs/rules/scaled-loss-accumulated.md" in shown[0]


@pytest.mark.asyncio
async def test_verifying_is_only_done_when_asked_and_for_what_is_saved(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    text = f"open({str(marker)!r}, 'w')\n{TRAIN}"
    async with editor(tmp_path) as one:
        uri = one.open("train.py", text)
        (finding,) = await one.pushed(uri, ["LL202"])
        one.edit("train.py", f"{text}# not saved\n")
        assert isinstance(finding.data, dict)
        await one.run("losslint.verify", uri, LINE + 2, finding.data["fingerprint"])
        await one.told("save the file first")
        await one.run("losslint.verify", uri, LINE + 2, "none")
        await one.told("no such finding")
        assert not marker.exists()


@pytest.mark.asyncio
async def test_a_verdict_is_shown_until_the_text_changes(tmp_path: Path) -> None:
    if find_spec("torch") is None:
        pytest.skip("verifying needs torch")
    async with editor(tmp_path) as one:
        uri = one.open("train.py", TRAIN)
        (finding,) = await one.pushed(uri, ["LL202"])
        assert isinstance(finding.data, dict)
        await one.run("losslint.verify", uri, LINE + 1, finding.data["fingerprint"], patience=120)
        assert "LL202: confirmed" in await one.told("LL202")
        (judged,) = await one.pushed(uri, ["LL202"])
        assert "confirmed by running a tiny step: measured ×0.25, predicted ×0.25" in judged.message
        assert isinstance(judged.data, dict)
        assert judged.data["verdict"] == "confirmed"
        one.edit("train.py", f"{TRAIN}# more\n")
        await one.pushed(uri, ["LL202"])
        while "confirmed" in one.client.diagnostics[uri][0].message:
            await one.published()


@pytest.mark.asyncio
async def test_a_client_that_pulls_is_told_to_where_another_document_made_a_difference(tmp_path: Path) -> None:
    async with editor(tmp_path, change=pulls) as one:
        one.open("helper.py", HELPER)
        one.open("train.py", CALLER)
        assert codes((await one.pull("helper.py")).items) == []
        assert codes((await one.pull("train.py")).items) == []
        one.edit("helper.py", HELPER.replace(" / n", ""))
        assert codes((await one.pull("helper.py")).items) == []
        await one.asked_to_pull()
        assert "LL102" in codes((await one.pull("train.py")).items)


@pytest.mark.asyncio
async def test_a_notebook_is_one_program(tmp_path: Path) -> None:
    def change(capabilities: types.ClientCapabilities) -> None:
        capabilities.notebook_document = types.NotebookDocumentClientCapabilities(
            types.NotebookDocumentSyncClientCapabilities()
        )

    first, second = TRAIN.split("\n\n\n")
    sources = ["%matplotlib inline\n" + first, "# Training", second]
    kinds = [types.NotebookCellKind.Code, types.NotebookCellKind.Markup, types.NotebookCellKind.Code]
    async with editor(tmp_path, change=change) as one:
        assert one.answer is not None
        assert one.answer.capabilities.notebook_document_sync is not None
        uri = one.uri("train.ipynb")
        cells = [f"vscode-notebook-cell:{(tmp_path / 'train.ipynb').as_posix()}#{number}" for number in range(3)]
        languages = ["markdown" if kind is types.NotebookCellKind.Markup else "python" for kind in kinds]
        one.client.notebook_document_did_open(
            types.DidOpenNotebookDocumentParams(
                types.NotebookDocument(
                    uri,
                    "jupyter-notebook",
                    1,
                    [types.NotebookCell(kind, cell) for kind, cell in zip(kinds, cells, strict=True)],
                ),
                [
                    types.TextDocumentItem(cell, language, 1, source)
                    for cell, language, source in zip(cells, languages, sources, strict=True)
                    if language == "python"
                ],
            )
        )
        (finding,) = await one.pushed(cells[2], ["LL202"])
        assert finding.range.start.line == second.split("\n").index("        total += loss.item()")
        assert "loss: 1/accum_steps" in await one.hover(cells[2], 4, 9)
        action = next(a for a in await one.actions(cells[2], finding.range.start.line) if "on this line" in a.title)
        assert action.edit.document_changes[0].text_document.uri == cells[2]
        fixed = second.replace("loss.item()", "loss.item() * accum_steps")
        one.client.notebook_document_did_change(
            types.DidChangeNotebookDocumentParams(
                types.VersionedNotebookDocumentIdentifier(2, uri),
                types.NotebookDocumentChangeEvent(
                    cells=types.NotebookDocumentCellChanges(
                        text_content=[
                            types.NotebookDocumentCellContentChanges(
                                types.VersionedTextDocumentIdentifier(2, cells[2]),
                                [types.TextDocumentContentChangeWholeDocument(fixed)],
                            )
                        ]
                    )
                ),
            )
        )
        await one.pushed(cells[2], [])


@pytest.mark.asyncio
async def test_what_would_break_an_analysis_does_not_end_the_server(tmp_path: Path) -> None:
    async with editor(tmp_path) as one:
        deep = one.open("deep.py", f"for x in loader:\n    loss.backward()\n    y = {'(' * 3000}1{')' * 3000}\n")
        one.open("huge.py", "x = 1\n" * 1_000_000, save=False)
        one.open("nul.py", "for x in loader:\n    loss.backward()\0\n", save=False)
        uri = one.open("train.py", TRAIN)
        await one.pushed(uri, ["LL202"])
        await one.pushed(one.uri("nul.py"), ["LL001"])
        assert len(one.client.diagnostics.get(deep, [])) <= 1


@pytest.mark.asyncio
async def test_a_killed_analysis_is_started_again(tmp_path: Path) -> None:
    async with editor(tmp_path) as one:
        uri = one.open("train.py", TRAIN)
        await one.pushed(uri, ["LL202"])
        started = next(one_.message for one_ in one.client.log_messages if "analysing process" in one_.message)
        os.kill(int(started.split()[2]), 9)
        one.edit("train.py", CLEAN)
        await one.pushed(uri, [])


def start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "losslint", "server"],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def framed(message: object) -> bytes:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"processId": None, "rootUri": None, "capabilities": {}},
}


@pytest.mark.parametrize(("polite", "code"), [(True, 0), (False, 1)])
def test_exit_code(tmp_path: Path, polite: bool, code: int) -> None:
    messages: list[dict[str, Any]] = [INITIALIZE]
    if polite:
        messages.append({"jsonrpc": "2.0", "id": 2, "method": "shutdown"})
    messages.append({"jsonrpc": "2.0", "method": "exit"})
    with start(tmp_path) as process:
        process.communicate(b"".join(map(framed, messages)), timeout=30)
    assert process.returncode == code


def test_malformed_input_is_answered_and_survived(tmp_path: Path) -> None:
    messages: list[object] = [INITIALIZE, b"{not json", {"jsonrpc": "2.0", "id": 7, "method": "no/such", "params": {}}]
    messages += [{"jsonrpc": "2.0", "method": "textDocument/didChange", "params": {"textDocument": 3}}]
    messages += [{"jsonrpc": "2.0", "id": 2, "method": "shutdown"}, {"jsonrpc": "2.0", "method": "exit"}]
    with start(tmp_path) as process:
        output, _ = process.communicate(b"".join(map(framed, messages)), timeout=30)
    assert process.returncode == 0
    assert b'"id":7' in output.replace(b" ", b"")
    assert b'"id":2' in output.replace(b" ", b"")


def test_the_end_of_input_ends_the_server(tmp_path: Path) -> None:
    with start(tmp_path) as process:
        process.communicate(framed(INITIALIZE), timeout=30)
    assert process.returncode == 1


def test_without_pygls(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n\nclass Hide:\n    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('pygls', 'lsprotocol'):\n"
        "            raise ModuleNotFoundError(name, name=name)\n\nsys.meta_path.insert(0, Hide())\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "losslint", "server"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == "error: `losslint server` needs pygls: `pip install 'losslint[server]'`\n"
