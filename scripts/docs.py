"""Generates what the documentation takes from the code, so that the two cannot disagree.

    python scripts/docs.py write    write docs/rules/, the pictures and the generated parts of README.md
    python scripts/docs.py check    show what is not current and which links are dead; exit code 1 where anything is

A rule's page is the docstring of its module. The README takes the table of rules, and a sample of the real output as
text and as a picture.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from losslint.output.full import LAWS
from losslint.registry import Rule
from losslint.selection import Entry, catalogue
from losslint.settings import json_schema

ROOT = Path(__file__).resolve().parent.parent
PAGES = Path("docs", "rules")
INDEX = PAGES / "README.md"
README = Path("README.md")
SCHEMA = Path("docs", "losslint.schema.json")

PICTURE = Path("docs", "sample.svg")

CURRENT, STALE = 0, 1

SAMPLE = ("fixtures/postmortems/2-raw-loss-under-accumulation/wrong_fix.py", "--select=LL202")

FAMILIES = {
    "LL0": "Errors of use",
    "LL1": "What reaches backward",
    "LL2": "What the user reads",
    "LL3": "Mixed precision",
    "LL4": "Order of the step",
    "LL5": "The graph",
    "LL6": "The contract of the loss function",
    "LL7": "Mode and state",
    "LL8": "Registration and set-up",
    "LL9": "Frameworks and processes",
}

PICTURE_FOLDER = Path("docs", "sample")
PICTURE_COMMAND = ("losslint", "train.py")
PICTURE_WIDTH = 120
"""Cells of the terminal in the picture."""

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_MARK = re.compile(r"# expect: ")


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(description="Generate docs/rules/ and parts of README.md from the rules.")
    parser.add_argument("command", choices=("write", "check"))
    options = parser.parse_args(argv)
    wanted = generated(root)
    stale = differing(root, wanted)
    if options.command == "check":
        dead = list(dead_links(root))
        for path in stale:
            print(f"{path.as_posix()} is not current: run `python scripts/docs.py write`")
        for path, link in dead:
            print(f"{path.as_posix()}: dead link: {link}")
        return STALE if stale or dead else CURRENT
    for path in stale:
        place = root / path
        if path in wanted:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(wanted[path], encoding="utf-8", newline="\n")
        else:
            place.unlink()
        print(f"{'wrote' if path in wanted else 'removed'} {path.as_posix()}")
    return CURRENT


def generated(root: Path) -> dict[Path, str]:
    """Every generated file, relative to the root, with the text it has to have."""
    entries = catalogue()
    around = zip([None, *entries[:-1]], entries, [*entries[1:], None], strict=True)
    files = {PAGES / f"{entry.name}.md": page(entry, before, after) for before, entry, after in around}
    files[INDEX] = index(entries)
    files[PICTURE] = picture()
    files[SCHEMA] = json.dumps(json_schema(), indent=2) + "\n"
    files[README] = readme((root / README).read_text(encoding="utf-8"), entries)
    return files


def differing(root: Path, wanted: Mapping[Path, str]) -> list[Path]:
    """The files that are missing, that differ, or that no rule stands behind any more."""
    present = {path.relative_to(root) for path in (root / PAGES).glob("*.md")}
    return sorted(path for path in present | set(wanted) if _text(root / path) != wanted.get(path))


def page(entry: Entry, before: Entry | None = None, after: Entry | None = None) -> str:
    """The page of one code. The marks of its examples, which tests read, become plain comments.

    `before` and `after` are its neighbours in the catalogue, which it links to.
    """
    body = _MARK.sub("# ", entry.page.strip())
    lead, _, sections = body.partition("\n\n") if isinstance(entry, Rule) else (_sentence(entry.summary), "", body)
    law, _, meaning = LAWS[entry.law].partition(": ")
    facts = f"Reported as **{entry.severity.label}** at most."
    if meaning:
        facts += f" It breaks the {law} law: {meaning}."
    if isinstance(entry, Rule):
        if "remedies=" in inspect.getsource(importlib.import_module(entry.module)):
            facts += " `--fix` can mend most cases."
        if entry.claim is not None:
            facts += f" `losslint verify` measures it: {entry.claim.value}."
    links = [f"[{other.code} {other.name}]({other.name}.md)" if other else "" for other in (before, after)]
    ways = " · ".join(
        filter(None, [links[0] and f"← {links[0]}", "[all rules](README.md)", links[1] and f"{links[1]} →"])
    )
    return f"# {entry.code} {entry.name}\n\n{lead}\n\n{facts}\n\n{sections}\n\n---\n\n{ways}\n"


def index(entries: Iterable[Entry]) -> str:
    """The table of all codes, by family."""
    lines = [
        "# Rules",
        "",
        "Each page below is the docstring of its rule. The severity is the highest that the rule reports at; most",
        "report one level lower where a link is not resolved. `info` is hidden unless asked for.",
    ]
    family = ""
    for entry in entries:
        if entry.code[:3] != family:
            family = entry.code[:3]
            lines += ["", f"## {family}xx: {FAMILIES[family]}", "", *_table_head("severity")]
        link = f"[{entry.name}]({entry.name}.md)"
        lines.append(f"| {entry.code} | {link} | {entry.severity.label} | {_cell(entry.summary)} |")
    return "\n".join(lines) + "\n"


def readme(text: str, entries: Iterable[Entry]) -> str:
    """The README with its generated parts renewed."""
    rows = [
        f"| {entry.code} | [{entry.name}]({PAGES.as_posix()}/{entry.name}.md) | {_cell(entry.summary)} |"
        for entry in entries
    ]
    text = _replaced(text, "rules", "\n".join([*_table_head(), *rows]))
    return _replaced(text, "sample", sample())


def sample() -> str:
    """What losslint really says of a post-mortem, as a block of text."""
    command = [sys.executable, "-m", "losslint", *SAMPLE, "--isolated", "--color=never"]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=False)
    if done.returncode != 1 or done.stderr:
        raise RuntimeError(f"losslint {' '.join(SAMPLE)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return f"```console\n$ losslint {' '.join(SAMPLE)}\n{done.stdout.rstrip()}\n```"


def picture() -> str:
    """The real output in a terminal, as an SVG file."""
    from rich.console import Console
    from rich.text import Text

    command = [sys.executable, "-m", *PICTURE_COMMAND, "--isolated", "--color=always"]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
    folder = ROOT / PICTURE_FOLDER
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False)
    if done.returncode != 1 or done.stderr:
        raise RuntimeError(f"losslint in {folder} ended with {done.returncode}: {done.stdout}{done.stderr}")
    console = Console(
        record=True, width=PICTURE_WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(Text.assemble(("$ ", "bold green"), (" ".join(PICTURE_COMMAND), "bold")))
    for line in done.stdout.rstrip("\n").split("\n"):
        console.print(Text.from_ansi(line), soft_wrap=False)
    svg = console.export_svg(title="losslint", unique_id="losslint")
    return "\n".join(line.rstrip() for line in svg.split("\n")) + "\n"


# ---------------------------------------------------------------- links


def dead_links(root: Path) -> Iterator[tuple[Path, str]]:
    """Each link of the documentation that leads nowhere: to a file that is not there, or a heading that is not in it.

    Links out of the repository are not followed.
    """
    pages = [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md"))]
    anchors = {page: anchors_of(_text(page) or "") for page in pages}
    for page in pages:
        for link in _LINK.findall(_CODE.sub("", _text(page) or "")):
            if "://" in link or link.startswith("mailto:"):
                continue
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            if not target.exists() or (anchor and anchor not in anchors.get(target, frozenset())):
                yield page.relative_to(root), link


def anchors_of(text: str) -> frozenset[str]:
    """The anchors that a forge gives the headings of a page: in lower case, spaces as dashes, without other signs."""
    found: dict[str, int] = {}
    for heading in _HEADING.findall(re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return frozenset(
        name if not number else f"{name}-{number}" for name, last in found.items() for number in range(last + 1)
    )


def _replaced(text: str, part: str, content: str) -> str:
    """The text with what stands between the two comments of a part replaced. Raises `ValueError` where they lack."""
    begin, end = f"<!-- generated: {part} -->\n", f"<!-- end of {part} -->"
    before, found, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"the README lacks `{begin.strip()}` … `{end}`")
    return f"{before}{begin}{content}\n{end}{after}"


def _table_head(*columns: str) -> list[str]:
    names = ["code", "name", *columns, "what is reported"]
    return [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if not text.startswith("`") else f"{text}."


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main())
