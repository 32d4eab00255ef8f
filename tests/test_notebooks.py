"""Notebooks: their cells as one program, what is masked in them, findings in cells, and cells written back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from losslint import notebookfile, notebooks
from losslint.check import Wishes, check
from losslint.cli import main
from losslint.config import Configs
from losslint.discovery import discover
from losslint.findings import Applicability, Edit, Finding, Fix, Law, Range, Severity, TrailStep
from losslint.magics import masked
from losslint.source import SourceError, worth_opening

PYTHON = {"kernelspec": {"name": "python3", "language": "python"}, "language_info": {"name": "python"}}
OUTPUT = {"output_type": "stream", "name": "stdout", "text": ["for loss in range(3): loss.backward()\n"]}

SETUP = "import torch\nfrom torch.utils.data import DataLoader\naccum_steps = 4"
TRAIN = """\
def train(model, loader: DataLoader, optimizer):
    criterion = torch.nn.CrossEntropyLoss()
    total = 0.0
    for i, (x, y) in enumerate(loader):
        loss = criterion(model(x), y) / accum_steps
        loss.backward()
        total += loss.item()
        if (i + 1) % accum_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
    return total / len(loader)"""


def cell(source: str | list[str], kind: str = "code", **metadata: Any) -> dict[str, Any]:
    lines = source.splitlines(keepends=True) if isinstance(source, str) else source
    made: dict[str, Any] = {"cell_type": kind, "metadata": metadata, "source": lines}
    if kind == "code":
        made |= {"execution_count": 1, "outputs": [OUTPUT]}
    return made


def notebook(*cells: dict[str, Any], metadata: dict[str, Any] = PYTHON, **top: Any) -> str:
    content = {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 5, **top}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


LOSS_CLASS = """\
class HandLoss(torch.nn.Module):
    def forward(self, logits, target):
        p = torch.sigmoid(logits)
        return -(target * torch.log(p) + (1 - target) * torch.log(1 - p)).mean()
"""
TRAINING = (cell("# Training", "markdown"), cell(SETUP), cell("%%bash\nls"), cell(f"%%time\n{TRAIN}"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path, *cells: dict[str, Any], **top: Any) -> Path:
    path = folder / "train.ipynb"
    path.write_text(notebook(*cells, **top), encoding="utf-8")
    return path


def lint(folder: Path, *options: str) -> list[Finding]:
    configs = Configs()
    return list(check(discover([str(folder), *options], configs), configs, Wishes()).findings)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    main([*arguments, "--output-format", "concise"])
    return [line.partition(" ")[0] + line.partition(": ")[2][:12] for line in capsys.readouterr().out.splitlines()]


# ---------------------------------------------------------------- magics


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("%matplotlib inline\nx = 1", "__                \nx = 1"),
        ("!pip install \\\n  torch\nx", "__            \n       \nx"),
        ("if on_colab:\n    !pip install torch\nx", "if on_colab:\n    __                \nx"),
        ("files = !ls *.py\nx", "files = __      \nx"),
        ("a, b[0] = %time f(x)\nx", "a, b[0] = __        \nx"),
        ("train?\n?train\nloader.dataset??  # what\nx", "__    \n__    \n__                      \nx"),
        ("%time\r\nx = 1\r\n", "__   \r\nx = 1\r\n"),
        ("\n%%time\nx", "\n__    \nx"),
        ("pip install -q torch\ncd ..\nx", "__                  \n__   \nx"),
        ("!!\n!\n%", "__\n_\n_"),
        ("'''a\n%s\n'''\n%x", "'''a\n%s\n'''\n__"),
        ("x = (a\n  % b)\n%x", "x = (a\n  % b)\n__"),
        ("x = a \\\n % b\n%x", "x = a \\\n % b\n__"),
        ("x = '(' # (\n%x", "x = '(' # (\n__"),
        ("x = r'\\'' + \"#\" + (\n'%')\n%x", "x = r'\\'' + \"#\" + (\n'%')\n__"),
    ],
)
def test_what_only_ipython_understands_is_masked(written: str, seen: str) -> None:
    assert masked(written) == seen


@pytest.mark.parametrize(
    "source", ["x %= 2", "if x != y: pass", "x = y % z\n# what?", "print('why?')", "f(a,\n?)", "cd = 3\nls = [cd]", ""]
)
def test_python_stays(source: str) -> None:
    assert masked(source) == source


@pytest.mark.parametrize("magic", ["%%bash", "%%html", "%%writefile train.py", "%%javascript", "%%R -i x", "%%"])
def test_cells_in_another_language_are_left_out(magic: str) -> None:
    assert masked(f"{magic}\nfor x in y: x.backward()") is None


# ---------------------------------------------------------------- findings


def test_a_finding_is_in_its_cell_and_so_is_its_trail(folder: Path) -> None:
    written(folder, *TRAINING)
    (finding,) = lint(folder)
    assert (finding.code, finding.path, finding.cell) == ("LL202", "train.ipynb", 4)
    assert finding.range == Range(8, 9, 8, 29)
    assert {step.cell for step in finding.trail} == {4}
    assert [step.range.start_line for step in finding.trail] == [6, 6, 8, 12, 12]
    assert "(÷4 with accum_steps = 4, cell 2, line 3)" in finding.message


def test_a_cell_that_trains_between_two_definitions(folder: Path) -> None:
    """The assignment runs long: what is defined before it is looked at all the same, and nothing is lost."""
    fit = "def fit(model, loader, optimizer):\n    for x, y in loader:\n        model(x).sum().backward()\n"
    fit += "".join(f"        x = x + {number}\n" for number in range(200)) + "        optimizer.step()"
    several = f"history = [{', '.join(['fit(model, loader, optimizer)'] * 12)}]"
    written(folder, cell(SETUP), cell(LOSS_CLASS), cell(fit), cell(several), cell(TRAIN))
    found = {(finding.code, finding.cell) for finding in lint(folder)}
    assert ("LL610", 2) in found


def test_the_trail_goes_over_cells(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    helper, loop = TRAIN.replace("criterion(model(x), y) / accum_steps", "step(model, x, y)"), ""
    loop, helper = helper, "def step(model, x, y):\n    return torch.nn.CrossEntropyLoss()(model(x), y) / accum_steps"
    written(folder, cell(SETUP), cell(helper), cell("text", "markdown"), cell(loop))
    (finding,) = lint(folder)
    assert (finding.cell, [step.cell for step in finding.trail]) == (4, [2, 2, 4, 4, 4])
    assert main([]) == 1
    out = capsys.readouterr().out
    assert " --> train.ipynb:cell 4:7:9\n" in out
    assert "7 |         total += loss.item()\n" in out
    assert " ::: train.ipynb:cell 2:2:12\n" in out
    assert "2 |     return torch.nn.CrossEntropyLoss()(model(x), y) / accum_steps\n" in out


def test_formats_name_the_cell(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(folder, *TRAINING)
    assert main(["--output-format", "concise"]) == 1
    assert capsys.readouterr().out.startswith("train.ipynb:cell 4:8:9: LL202 error: ")
    main(["--output-format", "json"])
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["cell"], found["range"]["start"]) == (4, {"line": 8, "column": 9})
    assert {step["cell"] for step in found["trail"]} == {4}


def test_editors_are_told_the_line_of_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(folder, *TRAINING)
    main(["--output-format=lsp", "--select=LL202", str(path)])
    [diagnostic] = json.loads(capsys.readouterr().out)["diagnostics"]
    start = diagnostic["range"]["start"]
    line = path.read_text(encoding="utf-8").split("\n")[start["line"]]
    assert line[start["character"] :].startswith("total += loss.item()")
    assert diagnostic["data"]["cell"] == 4


def test_suppressions_hold_in_their_cell(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    comment = "  # losslint: ignore[LL202] on purpose"
    written(folder, *TRAINING[:3], cell(TRAIN.replace("loss.item()", f"loss.item(){comment}")))
    assert lint(folder) == []
    written(folder, *TRAINING, cell(f"\n\n\n\n\n\n\nx = 1{comment}"))
    assert [(one.code, one.cell, one.range.start_line) for one in lint(folder)] == [("LL202", 4, 8), ("LL002", 5, 8)]
    written(folder, *TRAINING, cell("# losslint: file-ignore[LL202]"))
    assert lint(folder) == []


def test_per_file_ignores(folder: Path) -> None:
    written(folder, *TRAINING)
    (folder / "pyproject.toml").write_text('[tool.losslint.per-file-ignores]\n"*.ipynb" = ["LL2"]\n')
    assert lint(folder) == []


def test_the_last_value_of_other_languages_is_no_python(folder: Path) -> None:
    marked = cell(TRAIN, vscode={"languageId": "sql"})
    written(folder, cell(SETUP), marked)
    assert lint(folder) == []


@pytest.mark.parametrize(
    "metadata",
    [
        {"language_info": {"name": "R"}},
        {"kernelspec": {"name": "ir"}},
        {"kernelspec": {"name": "julia-1.10", "language": "julia"}},
    ],
)
def test_notebooks_of_other_kernels_are_skipped(
    folder: Path, metadata: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    written(folder, *TRAINING, metadata=metadata)
    assert main(["--verbose"]) == 0
    assert capsys.readouterr().err == "note: train.ipynb: skipped: its language is not Python\n"


@pytest.mark.parametrize("metadata", [{}, {"kernelspec": {"name": "my-env"}}, {"language_info": None}, []])
def test_a_notebook_that_names_no_language_is_python(folder: Path, metadata: Any) -> None:
    written(folder, *TRAINING, metadata=metadata)
    assert [finding.code for finding in lint(folder)] == ["LL202"]


# ---------------------------------------------------------------- broken ones


def test_a_broken_cell_costs_that_cell(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(folder, cell(SETUP), cell("x = 1\nprint 'python 2'"), *TRAINING[1:], cell("def broken(:\n    pass"))
    assert main(["--output-format", "concise"]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("train.ipynb")]
    assert [line.split(": ")[0] for line in lines] == [
        "train.ipynb:cell 2:2:1",
        "train.ipynb:cell 5:8:9",
        "train.ipynb:cell 6:1:12",
    ]
    assert "LL001 error: " in lines[0]
    assert "LL202" in lines[1]


def test_what_is_no_notebook_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = notebook(*TRAINING)
    for text, message in (
        (sound.replace('"cells"', "<<<<<<< HEAD", 1), "2:2: LL001 error: not a notebook: expecting property name"),
        (sound[: len(sound) // 2], "LL001 error: not a notebook: "),
        (sound.replace('"cells"', '"sells"', 1), "1:1: LL001 error: not a notebook: it has no list of `cells`"),
        (f"[{sound}]", "1:1: LL001 error: not a notebook: the file holds no JSON object"),
        (notebook(*TRAINING, 3), "1:1: LL001 error: not a notebook: cell 5 is no object"),  # type: ignore[arg-type]
        (
            notebook(*TRAINING, {"cell_type": "code", "source": {}}),
            "1:1: LL001 error: not a notebook: the `source` of cell 5 is no text",
        ),
        (
            json.dumps({"nbformat": 3, "worksheets": [{"cells": [cell(TRAIN)]}]}, indent=1),
            "2:1: LL001 error: a notebook of format 3 is not read",
        ),
        (notebook(*TRAINING, cell("x = 1\ny = '\0'")), "cell 5:2:1: LL001 error: source code cannot contain NUL"),
        (sound.replace('"nbformat": 4', f'"nbformat": {"[" * 100_000}'), "1:1: LL001 error: not a notebook: "),
        (sound.replace('"nbformat": 4', f'"nbformat": {"9" * 5000}'), "1:1: LL001 error: not a notebook: "),
    ):
        (folder / "train.ipynb").write_text(text, encoding="utf-8")
        (folder / "other.py").write_text(f"{SETUP}\n\n{TRAIN}\n")
        assert main(["--output-format", "concise"]) == 1
        out = capsys.readouterr().out
        assert f"train.ipynb:{message}" in out if message[0].isdigit() or message[0] == "c" else message in out
        assert "other.py:11:9: LL202" in out
        assert out.count("LL001") == 1


def test_a_notebook_that_is_no_utf_8(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(folder, *TRAINING, cell("# é"))
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xe9"))
    assert main(["--output-format", "concise"]) == 1
    assert "LL001 error: invalid utf-8 text: invalid continuation byte" in capsys.readouterr().out


def test_cells_without_anything(folder: Path) -> None:
    written(folder, cell([]), cell(""), cell("\n\n"), *TRAINING, {"cell_type": "code"}, cell("x", "raw"))
    assert [(finding.code, finding.cell) for finding in lint(folder)] == [("LL202", 7)]


def test_a_lone_surrogate_is_survived(folder: Path) -> None:
    path = written(folder, *TRAINING, cell("x = 'HERE'"))
    path.write_text(path.read_text().replace("HERE", "\\ud83d"))
    assert [finding.code for finding in lint(folder)] == ["LL202"]


def test_sources_may_be_one_string(folder: Path) -> None:
    written(folder, {**cell(SETUP), "source": SETUP}, {**cell(TRAIN), "source": TRAIN})
    assert [(finding.cell, finding.range.start_line) for finding in lint(folder)] == [(2, 7)]


# ---------------------------------------------------------------- the gate


def test_what_stands_in_outputs_is_no_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(folder, cell("print(loss)"), cell("# for def loss backward( +=", "markdown"))
    monkeypatch.setattr("losslint.engine.analyze", None)
    assert lint(folder) == []


def test_a_notebook_without_a_word_of_losses_is_not_even_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(folder, {**cell("for x in y: print(x)"), "outputs": []})
    monkeypatch.setattr(notebooks, "parse", None)
    assert lint(folder) == []


def test_the_gate_opens_for_all_that_parsing_would_find() -> None:
    assert worth_opening(notebook(cell(TRAIN)).encode())
    assert worth_opening(notebook(cell("for batch in loader:\n    total = total + criterion(batch)")).encode())
    assert not worth_opening(b'{"cells": []}')


def test_large_outputs_are_no_obstacle(folder: Path) -> None:
    picture = {"output_type": "display_data", "metadata": {}, "data": {"image/png": "iVBORw0KGgo" * 1_000_000}}
    written(folder, *TRAINING[:3], {**TRAINING[3], "outputs": [picture]})
    assert (folder / "train.ipynb").stat().st_size > 2 * 5 * 1024 * 1024
    assert [finding.code for finding in lint(folder)] == ["LL202"]


def test_much_code_is_skipped_with_a_note(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written(folder, *TRAINING)
    monkeypatch.setattr(notebooks, "MAX_BYTES", 1000)
    assert main(["--verbose"]) == 0
    assert "note: train.ipynb: skipped: larger than" in capsys.readouterr().err


# ---------------------------------------------------------------- back into the file

PLACE = Range(1, 1, 1, 2)


def file_of(text: str) -> notebookfile.NotebookFile:
    return notebookfile.open_notebook(text.encode("utf-8"), Path("train.ipynb"))


@pytest.mark.parametrize("indent", [None, 1, 4, "\t"])
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_only_the_source_of_a_cell_is_rewritten(indent: int | str | None, ascii_only: bool, mark: str) -> None:
    content = json.loads(notebook(*TRAINING, cell("s = 'é😀'\nt = 2\n"), zebra=1, alpha="ü"))
    before = mark + json.dumps(content, indent=indent, ensure_ascii=ascii_only)
    content["cells"][4]["source"] = ["s = 'é😀'\n", "new = 'x'\n", "t = 2\n"]
    after = mark + json.dumps(content, indent=indent, ensure_ascii=ascii_only)
    assert file_of(before).rewritten({5: "s = 'é😀'\nnew = 'x'\nt = 2\n"}) == after.encode("utf-8")
    assert file_of(before).rewritten({}) == before.encode("utf-8")


@pytest.mark.parametrize("lines", [["one line"], [], "one string", ["a", "b\nc", "\n"]])
def test_sources_of_every_shape_are_rewritten(lines: str | list[str]) -> None:
    before = notebook(cell("x"), {**cell(""), "source": lines}, cell("y"))
    after = json.loads(file_of(before).rewritten({2: 'first\n\tsecond "x"\n', 3: "z"}))
    made = after["cells"][1]["source"]
    assert (made if isinstance(made, str) else "".join(made)) == 'first\n\tsecond "x"\n'
    assert isinstance(made, str) is isinstance(lines, str)
    assert after["cells"][2]["source"] == ["z"]
    assert json.loads(file_of(before).rewritten({2: ""}))["cells"][1]["source"] in ("", [])


def test_a_line_that_stays_keeps_its_spelling() -> None:
    before = notebook(cell("a\nb\n")).replace('"a\\n"', '"\\u0061\\u000a"')
    assert '"\\u0061\\u000a"' in before
    after = file_of(before).rewritten({1: "a\nc\n"}).decode()
    assert after == before.replace('"b\\n"', '"c\\n"')


def test_places_in_the_lines_of_the_file() -> None:
    text = notebook(cell("# t", "markdown"), cell("x = 1\ns = 'é😀\"'; y = 2"), cell("z"))
    text = text.replace("é", "\\u00e9").replace("😀", "\\ud83d\\ude00")
    place = file_of(text).place(2, Range(2, 12, 2, 17))
    lines = text.splitlines()
    assert place.start_line == place.end_line
    assert lines[place.start_line - 1][place.start_column - 1 : place.end_column - 1] == "y = 2"
    end = file_of(text).place(3, Range(1, 1, 1, 2))
    assert lines[end.start_line - 1][end.start_column - 1 : end.end_column - 1] == "z"


def test_a_notebook_of_one_line_has_places_too() -> None:
    text = json.dumps(json.loads(notebook(cell("x = 1\ny = 2"))))
    place = file_of(text).place(1, Range(2, 1, 2, 6))
    assert text[place.start_column - 1 : place.end_column - 1] == "y = 2"
    assert place.start_line == place.end_line == 1


def test_what_is_no_notebook_is_not_rewritten() -> None:
    with pytest.raises(SourceError, match="no list of `cells`"):
        file_of("{}")


# ---------------------------------------------------------------- fixes


def located_edit(edit: Edit, *sources: str) -> Edit | None:
    made = notebooks.from_cells(enumerate(sources, start=1))
    fix = made.located_fix(Fix("fix it", Applicability.SAFE, (edit,)), "n.ipynb")
    return fix.edits[0] if fix is not None else None


def test_edits_are_placed_in_their_cell() -> None:
    edit = Edit("n.ipynb", Range(4, 1, 4, 2), "b")
    assert located_edit(edit, "x\ny", "a\nc") == Edit("n.ipynb", Range(1, 1, 1, 2), "b", 2)
    other = Edit("helpers.py", Range(4, 1, 4, 2), "b")
    assert located_edit(other, "x\ny", "a\nc") == other


def test_what_is_put_behind_the_last_line_of_a_cell_stays_in_it() -> None:
    insert = Edit("n.ipynb", Range(3, 1, 3, 1), "z\n")
    assert located_edit(insert, "x\ny", "a") == Edit("n.ipynb", Range(2, 2, 2, 2), "\nz", 1)
    assert located_edit(insert, "x\ny\n", "a") == Edit("n.ipynb", Range(3, 1, 3, 1), "z\n", 1)
    delete = Edit("n.ipynb", Range(2, 1, 3, 1), "")
    assert located_edit(delete, "x\ny", "a") == Edit("n.ipynb", Range(1, 2, 2, 2), "", 1)
    renew = Edit("n.ipynb", Range(2, 1, 3, 1), "w\n")
    assert located_edit(renew, "x\ny", "a") == Edit("n.ipynb", Range(2, 1, 2, 2), "w", 1)


def test_an_edit_over_two_cells_is_no_fix() -> None:
    assert located_edit(Edit("n.ipynb", Range(1, 1, 5, 1), ""), "x\ny", "a\nb") is None


def test_only_what_is_of_the_notebook_is_placed_in_cells() -> None:
    made = notebooks.from_cells([(2, "a\nb"), (5, "c")])
    steps = (TrailStep("n.ipynb", Range(4, 1, 4, 2), "m", ""), TrailStep("h.py", Range(4, 1, 4, 2), "m", ""))
    finding = Finding(
        "LL202", "x", Severity.ERROR, Law.REPORT, "m", "n.ipynb", Range(2, 1, 2, 2), None, steps, steps, "", ""
    )
    located = made.located(finding, "n.ipynb")
    assert (located.cell, located.range) == (2, Range(2, 1, 2, 2))
    assert [(step.cell, step.range.start_line) for step in located.trail] == [(5, 1), (None, 4)]
    assert located.related == located.trail
    assert made.joined(located) == finding
    elsewhere = made.located(replace(finding, path="h.py"), "n.ipynb")
    assert (elsewhere.cell, elsewhere.range, elsewhere.trail) == (None, finding.range, located.trail)
    assert (
        made.told("`x` (line 4) is true; line 1: would raise")
        == "`x` (cell 5, line 1) is true; cell 2, line 1: would raise"
    )


def test_fixes_are_written_into_the_cell_alone(folder: Path) -> None:
    path = written(folder, *TRAINING, cell("print('é')\n"), zebra=1)
    before = path.read_text(encoding="utf-8")
    assert main(["--fix", "--unsafe-fixes"]) == 0
    assert path.read_text(encoding="utf-8") == before.replace("loss.item()\\n", "loss.item() * accum_steps\\n")
    assert path.read_text(encoding="utf-8") != before
