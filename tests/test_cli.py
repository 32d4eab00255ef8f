from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import fakes
import pytest

from losslint import __version__, check, progress, source
from losslint.cli import main

FAKES = str(Path(fakes.__file__).resolve())
CHECKOUT = str(Path(FAKES).parents[1])


def run_cli(*arguments: str, cwd: Path, **options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": CHECKOUT, **options}
    command = [sys.executable, FAKES, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("arguments", [["check", "."], ["."], [], ["train.py"], ["--no-cache", "train.py", "."]])
def test_bare_paths_mean_check(project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    (project / "train.py").write_text(fakes.BUG)
    assert main([*arguments, "--output-format", "concise"]) == 1
    assert capsys.readouterr().out == (
        "train.py:3:5: LL102 error: backward runs on the undivided loss\nFound 1 error in 1 file\n"
    )


def test_a_clean_run_exits_with_0(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.py").write_text(fakes.LOOP)
    (project / "other.py").write_text("x = 1\n")
    assert main([]) == 0
    assert capsys.readouterr().out == "All clear: 2 files checked\n"


def test_an_empty_folder_is_said(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["."]) == 0
    assert capsys.readouterr().err == "warning: no Python files found\n"


def test_exit_zero_still_shows_the_findings(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.py").write_text(fakes.BUG)
    assert main(["--exit-zero"]) == 0
    assert "LL102" in capsys.readouterr().out


def test_info_is_hidden_by_default_and_never_fails(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.py").write_text(fakes.BUG.replace("LL102", "LL106"))
    assert main([]) == 0
    assert "LL106" not in capsys.readouterr().out
    assert main(["--min-severity", "info", "--output-format", "concise"]) == 0
    assert "Found 1 info in 1 file" in capsys.readouterr().out


def test_min_severity_error_hides_warnings(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.py").write_text(fakes.BUG.replace("LL102", "LL204"))
    assert main(["--min-severity", "error"]) == 0
    assert main([]) == 1


TWO = fakes.BUG + "    total += loss  # BUG LL204\n"


@pytest.mark.parametrize(
    ("arguments", "codes"),
    [
        ([], ["LL102", "LL204"]),
        (["--select", "ALL"], ["LL102", "LL204"]),
        (["--select", "LL102"], ["LL102"]),
        (["--select", "ll2"], ["LL204"]),
        (["--select", "LL1,mean-loss-over-samples"], ["LL102", "LL204"]),
        (["--select", "LL1", "--select", "LL2"], ["LL102", "LL204"]),
        (["--select", "LL1", "--extend-select", "LL204"], ["LL102", "LL204"]),
        (["--ignore", "unscaled-accumulation"], ["LL204"]),
        (["--ignore", "LL"], []),
        (["--select", "LL204", "--ignore", "LL2"], ["LL204"]),
        (["--select", "LL2", "--ignore", "LL204"], []),
        (["--select", "LL204", "--ignore", "LL204"], []),
    ],
)
def test_selection(project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], codes: list[str]) -> None:
    (project / "train.py").write_text(TWO)
    main([*arguments, "--output-format", "json"])
    assert [item["code"] for item in json.loads(capsys.readouterr().out)] == codes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--select", "LL1102"], "unknown code or name `LL1102`, did you mean `LL102`?"),
        (["--ignore", "unscaled-acumulation"], "did you mean `unscaled-accumulation`?"),
        (["--extend-select", "zzz"], "unknown code or name `zzz`; `losslint rules` lists them all"),
        (["--select", " "], "`--select` names no code"),
        (["--config", "absent.toml"], "no such file: `absent.toml`"),
        (["--statistics", "--output-format", "lsp"], "`--statistics` has no `lsp` format"),
        (["absent.py"], "absent.py: no such file or directory"),
        (["train.txt"], "train.txt: neither a Python file nor a notebook"),
    ],
)
def test_errors_of_use(project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    (project / "train.txt").write_text("{}")
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_unknown_options_are_errors_of_use(project: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--selct", "LL1"])
    with pytest.raises(SystemExit, match="2"):
        main(["--config", "a", "--isolated"])


def test_one_bad_path_does_not_stop_the_others(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.py").write_text(fakes.BUG)
    assert main(["absent.py", "train.py", "--output-format", "concise"]) == 2
    shown = capsys.readouterr()
    assert "train.py:3:5: LL102" in shown.out
    assert shown.out.endswith("Found 1 error in 1 file; 1 path could not be checked\n")
    assert shown.err == "error: absent.py: no such file or directory\n"


def test_a_file_that_vanishes_is_said(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gone.py", "train.py"):
        (project / name).write_text(fakes.BUG)

    def read(path: Path) -> bytes | None:
        if path.name == "gone.py":
            raise FileNotFoundError(2, "No such file or directory")
        return source.read(path)

    monkeypatch.setattr(check, "read", read)
    assert main(["--output-format", "concise"]) == 2
    shown = capsys.readouterr()
    assert shown.err == "error: gone.py: no such file or directory\n"
    assert "train.py:3:5" in shown.out


def test_a_syntax_error_is_a_finding_and_the_run_goes_on(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "bad.py").write_text(fakes.LOOP + "# SYNTAX\n")
    (project / "train.py").write_text(fakes.BUG)
    assert main(["--select", "LL102", "--output-format", "concise"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "bad.py:2:5: LL001 error: invalid syntax",
        "train.py:3:5: LL102 error: backward runs on the undivided loss",
        "Found 2 errors in 2 files",
    ]
    assert main(["bad.py", "--ignore", "syntax-error"]) == 0


@pytest.mark.parametrize(
    ("data", "place", "message"),
    [
        (fakes.LOOP.encode() + b"x = '\xff'\n", "4:6", "invalid utf-8 text: invalid start byte"),
        (b"\xef\xbb\xbf" + "# é\xff\n".encode("latin-1") + fakes.LOOP.encode(), "1:3", "invalid utf-8 text"),
        (fakes.LOOP.encode() + b"\0\n", "4:1", "source code cannot contain NUL bytes"),
        (b"# coding: no-such\n" + fakes.LOOP.encode(), "1:1", "unknown encoding: no-such"),
        (b"# coding: rot13\n" + fakes.LOOP.encode(), "1:1", "cannot decode as rot13"),
    ],
)
def test_bytes_that_are_no_text(
    project: Path, capsys: pytest.CaptureFixture[str], data: bytes, place: str, message: str
) -> None:
    (project / "bad.py").write_bytes(data)
    assert main(["--output-format", "concise"]) == 1
    assert f"bad.py:{place}: LL001 error: {message}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + fakes.BUG.encode(),
        b"# coding: latin-1\n# \xe9\n" + fakes.BUG.encode(),
        fakes.BUG.replace("\n", "\r\n").encode(),
    ],
)
def test_encodings(project: Path, capsys: pytest.CaptureFixture[str], data: bytes) -> None:
    (project / "train.py").write_bytes(data)
    assert main(["--output-format", "concise"]) == 1
    assert ":5: LL102" in capsys.readouterr().out


def test_a_huge_file_is_skipped_with_a_note(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "huge.py").write_text(fakes.BUG + "#" * source.MAX_BYTES)
    assert main(["--verbose"]) == 0
    assert capsys.readouterr().err == "note: huge.py: skipped: larger than 5 MiB\n"


def test_bounds_are_shown_with_verbose_only(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.py").write_text(fakes.LOOP + "# NOTE\n")
    assert main([]) == 0
    assert capsys.readouterr().err == ""
    assert main(["--verbose"]) == 0
    assert capsys.readouterr().err == "note: train.py: too many forks\n"


def test_an_internal_error_costs_one_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "bad.py").write_text(fakes.LOOP + "# CRASH\n")
    (project / "train.py").write_text(fakes.BUG)
    assert main(["--output-format", "concise"]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(
        "error: bad.py: internal error, not checked (ZeroDivisionError: a defect); please report"
    )
    assert shown.err.count("\n") == 1
    assert "train.py:3:5: LL102" in shown.out
    assert main(["--verbose"]) == 2
    assert "Traceback" in capsys.readouterr().err


def _many(folder: Path, count: int) -> list[str]:
    for number in range(count):
        (folder / f"f{number:02}.py").write_text(fakes.BUG)
    return [f"f{number:02}.py:3:5" for number in range(count)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")
def test_workers_keep_the_order_and_a_dead_one_loses_one_file(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "_workers", lambda size, files: 3)
    expected = _many(project, 20)
    assert main(["--output-format", "concise"]) == 1
    assert [line.split(": ")[0] for line in capsys.readouterr().out.splitlines()[:-1]] == expected
    for dead in ("f07", "f11", "f12", "f13", "f19"):
        (project / f"{dead}.py").write_text(fakes.BUG + "# DIE\n")
        expected.remove(f"{dead}.py:3:5")
    (project / "f00.py").write_text(fakes.BUG + "# CRASH\n")
    expected.remove("f00.py:3:5")
    assert main(["--output-format", "concise"]) == 2
    shown = capsys.readouterr()
    assert [line.split(": ")[0] for line in shown.out.splitlines()[:-1]] == expected
    assert "error: f07.py: not checked: its worker process was killed by signal 9\n" in shown.err
    assert shown.err.count("\n") == 6


def test_workers_are_forked_only_where_they_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setattr(os, "fork", lambda: 0, raising=False)
    assert check._workers(20_000, 5) == 1
    assert check._workers(200_000, 50) == 2
    assert check._workers(20_000_000, 500) == 8
    assert check._workers(20_000_000, 1) == 1


def test_statistics(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "a.py").write_text(TWO)
    (project / "b.py").write_text(fakes.BUG)
    assert main(["--statistics"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "     2  LL102  unscaled-accumulation",
        "     1  LL204  mean-loss-over-samples",
        "Found 2 errors, 1 warning in 2 files",
    ]
    assert main(["--statistics", "--output-format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)[0] == {"code": "LL102", "name": "unscaled-accumulation", "count": 2}


def test_rules_are_listed_with_the_tool_codes(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["LL001", "LL002", "LL003", "LL102", "LL106", "LL204"]
    assert main(["rules", "--output-format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[3] == {
        "code": "LL102",
        "name": "unscaled-accumulation",
        "severity": "error",
        "law": "gradient",
        "summary": "summary of unscaled-accumulation",
    }


@pytest.mark.parametrize("wanted", ["LL002", "ll002", "unused-suppression"])
def test_explain_prints_markdown_when_piped(project: Path, capsys: pytest.CaptureFixture[str], wanted: str) -> None:
    assert main(["explain", wanted]) == 0
    page = capsys.readouterr().out
    assert page.startswith("# LL002 unused-suppression\n")
    assert "## What it does" in page
    assert "\x1b" not in page


def test_explain_draws_the_page_in_colour(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "LL102", "--color", "always"]) == 0
    assert "\x1b[" in capsys.readouterr().out


def test_explain_names_the_nearest_code(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "unused-supression"]) == 2
    assert "did you mean `unused-suppression`?" in capsys.readouterr().err


def test_paths_outside_the_working_directory(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "inner").mkdir()
    (project / "train.py").write_text(fakes.BUG)
    monkeypatch.chdir(project / "inner")
    assert main(["..", "--output-format", "concise"]) == 1
    assert capsys.readouterr().out.startswith("../train.py:3:5")
    assert main([str(project), "--output-format", "concise"]) == 1
    assert capsys.readouterr().out.startswith(f"{project.as_posix()}/train.py:3:5")


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    _many(tmp_path, 400)
    shell = f'"{sys.executable}" "{FAKES}" --output-format full . | head -n 1'
    environment = {**os.environ, "PYTHONPATH": CHECKOUT}
    done = subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "error[LL102] unscaled-accumulation: backward runs on the undivided loss\n"
    assert done.stderr == ""


def test_an_interrupt_is_one_line(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    (project / "train.py").write_text(fakes.LOOP)
    monkeypatch.setattr(check, "_look", interrupted)
    assert main([]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")
def test_an_interrupt_leaves_no_worker_behind(tmp_path: Path) -> None:
    script = """
import os, sys, time, fakes
from losslint import check, cli, selection
fakes.install(sys.modules.__setitem__, lambda rules: setattr(selection, "rules", rules))
check._workers = lambda size, files: 2
def slow(job):
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(60)
check._look = slow
sys.exit(cli.main())
"""
    _many(tmp_path, 4)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([CHECKOUT, str(Path(FAKES).parent)])}
    with subprocess.Popen(
        [sys.executable, "-c", script, "."],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        workers = [int(process.stdout.readline()) for _ in range(2)]
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "interrupted\n"
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_long_run_on_a_terminal_shows_its_progress(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    for name in ("a.py", "b.py"):
        (project / name).write_text(fakes.LOOP)
    assert main([]) == 0
    assert stream.getvalue() == ""
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    assert main([]) == 0
    assert "1/2" in stream.getvalue()
    redirected = io.StringIO()
    monkeypatch.setattr(sys, "stderr", redirected)
    assert main([]) == 0
    assert redirected.getvalue() == ""


def test_version_imports_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys; from losslint.cli import main\ntry: main(['--version'])\nexcept SystemExit: print(*sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": CHECKOUT}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    version, modules = done.stdout.splitlines()
    assert version == f"losslint {__version__}"
    assert not {"libcst", "rich", "pathspec", "tomllib", "dataclasses", "losslint.check"} & set(modules.split())


def test_files_without_a_loop_cost_no_parser(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("import torch\n\ndef f(x):\n    return x\n")
    script = "import sys; from losslint.cli import main\nmain(['.']); print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": CHECKOUT}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    first, modules = done.stdout.splitlines()
    assert first == "All clear: 1 file checked"
    assert not {"libcst", "rich", "pathspec", "tomllib", "losslint.engine", "losslint.registry"} & set(modules.split())


def test_file_names_that_are_no_text(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"tr\xffin.py")).write_text(fakes.BUG)
    except OSError:
        pytest.skip("this file system takes only text as a name")
    done = run_cli("--output-format", "concise", cwd=tmp_path, PYTHONUTF8="1")
    assert done.returncode == 1
    assert done.stdout.startswith("tr\\udcffin.py:3:5: LL102")
    assert json.loads(run_cli("--output-format", "json", cwd=tmp_path).stdout)[0]["path"] == "tr\udcffin.py"


def test_an_encoding_without_the_signs(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(fakes.BUG)
    done = run_cli(cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert "gradient = mean \\xd7 accum_steps" in done.stdout


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ("for x in y:\n    loss.backward()\n", True),
        ("def step(self):\n    self.manual_backward(out)\n", True),
        ("loss.backward()\n", False),
        ("class F(Function):\n    def backward(ctx, g):\n        return g\n", False),
        ("class M:\n    def add(self, loss, batch_size):\n        self.loss_sum += loss * batch_size\n", True),
        ("for x, y in loader:\n    total = total + F.cross_entropy(m(x), y)\n", True),
        ("for x, y in loader:\n    total += F.cross_entropy(m(x), y)\n", True),
        ("def evaluate(loader):\n    losses.append(criterion(x))\n", True),
        ("def forward(self, batch):\n    loss = loss_fct(logits)\n    return loss\n", False),
        ("for x in batches:\n    total += x\n    print(loss)\n", False),
        ("def loss(a, b):\n    return a - b\n", False),
        ("def f(x):\n    return x\n", False),
    ],
)
def test_byte_gate(text: str, worth: bool) -> None:
    assert source.worth_parsing(text.encode()) is worth
