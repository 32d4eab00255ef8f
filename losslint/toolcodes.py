"""The codes that losslint itself reports: errors of use, not of loops."""

from __future__ import annotations

from dataclasses import dataclass

from losslint.findings import Finding, Law, Range, Severity
from losslint.fingerprints import fingerprint


@dataclass(frozen=True, slots=True)
class ToolCode:
    """One entry of the catalogue that no rule stands behind; the fields are those of a `Rule`."""

    code: str
    name: str
    summary: str
    law: Law
    severity: Severity
    page: str


SYNTAX_ERROR = ToolCode(
    code="LL001",
    name="syntax-error",
    summary="the file is not valid Python, so nothing in it was checked",
    law=Law.USE,
    severity=Severity.ERROR,
    page="""\
## What it does
Reports a file that holds a training loop and cannot be read: a syntax error, bytes that are not text in the declared
encoding, or NUL bytes. The other files are still checked.

## Why it matters
A file that was skipped looks the same as a file without findings.

## When it stays silent
A file without anything that could be a training loop or a reported loss is not parsed at all.
""",
)

UNUSED_SUPPRESSION = ToolCode(
    code="LL002",
    name="unused-suppression",
    summary="a `losslint: ignore` comment that suppresses nothing, or that names no code",
    law=Law.USE,
    severity=Severity.WARNING,
    page="""\
## What it does
Reports a `# losslint: ignore[…]` or `# losslint: file-ignore[…]` comment whose code is not reported there, is not
known, or is missing. A comment without a code suppresses nothing.

## Why it matters
A suppression that outlives its finding hides the next one.

## Bad
```python
total += loss.item()  # losslint: ignore
```

## Good
```python
total += loss.item()  # losslint: ignore[raw-loss-accumulated] the divisor counts micro-batches
```

## When it stays silent
For codes that were not selected in this run, and in a file whose analysis did not finish. A finding may only show when
the files that call a helper are checked with it: check the whole project, not single files, to learn what is unused.
""",
)

INVALID_CONFIG = ToolCode(
    code="LL003",
    name="invalid-config",
    summary="`[tool.losslint]` holds an unknown key or a value that cannot be used",
    law=Law.USE,
    severity=Severity.ERROR,
    page="""\
## What it does
Reports an unknown key, an unknown code or a value of the wrong type in `[tool.losslint]` of a `pyproject.toml`, and a
file that is not valid TOML. The run ends with exit code 2.

## Why it matters
A misspelt `ignore` that is passed over in silence ignores nothing, and a misspelt `select` checks nothing.

## Bad
```toml
[tool.losslint]
min-severty = "info"
```

## Good
```toml
[tool.losslint]
min-severity = "info"
```

## When it stays silent
Tables of other tools are not read, and with `--isolated` no configuration is.
""",
)

TOOL_CODES = (SYNTAX_ERROR, UNUSED_SUPPRESSION, INVALID_CONFIG)


def tool_finding(
    entry: ToolCode,
    path: str,
    place: Range,
    message: str,
    advice: str,
    statement: str,
    occurrence: int = 0,
    cell: int | None = None,
) -> Finding:
    """A finding of losslint's own: it has no factor and no trail. `statement` is what its fingerprint is made from."""
    return Finding(
        code=entry.code,
        name=entry.name,
        severity=entry.severity,
        law=entry.law,
        message=message,
        path=path,
        range=place,
        factor=None,
        trail=(),
        related=(),
        help=advice,
        fingerprint=fingerprint(entry.code, path, statement, occurrence),
        statement=statement,
        cell=cell,
    )
