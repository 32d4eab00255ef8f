"""`losslint new-rule NAME`: the files that a new rule begins with, in a checkout of losslint."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from losslint.commands.shared import Exit, command_parser, misuse
from losslint.findings import Law, Severity

_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)+")
_CODE = re.compile(r"LL[1-9]\d\d")
_TABLE = re.compile(r'(?<=^CATALOGUE = """\\\n).*?(?=^""")', re.MULTILINE | re.DOTALL)

_EXAMPLE = """\
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer):
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward(){mark}
        optimizer.step()
"""

_RULE = '''\
"""TODO: what is wrong, in one sentence.

## What it does
TODO: what is reported, and what makes it a warning.

## Why it matters
TODO: what the user sees, by which factor.

## Bad
```python
{bad}```

## Good
```python
{good}```

## When it stays silent
- TODO: the look-alikes that are right.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Law, Severity
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Rule


def check(loop: Loop) -> Iterator[Draft]:
    """TODO: the law, as a question to the ledger."""
    yield from ()


RULE = Rule(
    code="{code}",
    name="{name}",
    summary="TODO: what is reported, in a line",
    law=Law.{law},
    severity=Severity.{severity},
    check=check,
    module=__name__,
)
'''


def run(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    from losslint import rules

    folder = Path(next(iter(rules.__path__)))
    catalogue = folder.parent / "tests" / "test_tree.py"
    if folder.name != "rules" or not catalogue.is_file():
        return misuse("`new-rule` works in a checkout of losslint that is installed in place")
    text = catalogue.read_text(encoding="utf-8")
    table = _TABLE.search(text)
    if table is None:
        return misuse(f"no catalogue in `{catalogue}`")
    known = dict(line.split()[:2] for line in table[0].splitlines())
    complaint = _complaint(options.name, options.code, known)
    if complaint:
        return misuse(complaint)
    line = f"{options.code} {options.name} {options.severity}\n"
    lines = sorted([*table[0].splitlines(keepends=True), line])
    files = _files(folder, options)
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8", newline="\n")
    catalogue.write_text(text[: table.start()] + "".join(lines) + text[table.end() :], encoding="utf-8", newline="\n")
    for path in files:
        print(f"wrote {path.relative_to(folder.parent).as_posix()}")
    print(f"added to the catalogue in tests/test_tree.py: {line.rstrip()}")
    print(f"next: write the page and the check, then `pytest tests/test_fixtures.py -k {options.name}`")
    return Exit.CLEAN


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = command_parser("losslint new-rule", "Write the files of a new rule, in a checkout of losslint.")
    made.add_argument("name", metavar="NAME", help="what is wrong, in lower case with dashes: `clip-before-unscale`")
    made.add_argument("--code", required=True, metavar="LLnnn", help="a code that was never given out")
    made.add_argument("--law", required=True, choices=[law.value for law in Law], help="the law that is broken")
    severities = [severity.label for severity in sorted(Severity, reverse=True)]
    made.add_argument("--severity", choices=severities, default="warning", help="the highest it reports at")
    return made


def _complaint(name: str, code: str, known: dict[str, str]) -> str:
    """Why there cannot be such a rule; empty where there can."""
    if not _NAME.fullmatch(name):
        return f"`{name}` is no name of a rule: words in lower case, joined by dashes"
    if not _CODE.fullmatch(code):
        return f"`{code}` is no code of a rule: LL and three digits, the first not 0"
    if code in known:
        return f"`{code}` was given out already, to `{known[code]}`"
    return f"there is a rule `{name}` already" if name in known.values() else ""


def _files(folder: Path, options: argparse.Namespace) -> dict[Path, str]:
    mark = f"  # expect: {options.code} {options.severity}"
    bad, good = _EXAMPLE.format(mark=mark), _EXAMPLE.format(mark="")
    fixtures = folder.parent / "fixtures" / "rules" / options.name
    law = Law(options.law).name
    severity = options.severity.upper()
    rule = _RULE.format(bad=bad, good=good, code=options.code, name=options.name, law=law, severity=severity)
    return {
        folder / f"{options.name.replace('-', '_')}.py": rule,
        fixtures / "bad_minimal.py": bad,
        fixtures / "good_minimal.py": good,
    }
