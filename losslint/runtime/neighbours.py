"""The other files of a project that a run may use: those that a finding leads over, and what is imported from its own.

Torch-free. Of a file that is only imported, the definitions are kept that have to do with losses, and what they use;
a model, a data set or a reader of arguments is what its name says, as it is when it comes from a library.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from losslint.findings import Finding
from losslint.project import Project
from losslint.runtime.outline import FUNCTIONS, LOOPS, SINKS, called_in, is_lossy, last_name, makes_loss
from losslint.source import SourceError, decode, project_roots, read

LINES = 1_000_000
"""One number says file and line: the lines of the file of number `n` count on from `n * LINES`."""
_MOST_FILES = 12
_MOST_TEXT = 200 * 1024
_MOST_HOPS = 5
_MOST_SIBLINGS = 200
_MOST_CALLERS = 3
_OF_LOSSES = re.compile(
    r"loss|criteri|backward|zero_grad|clip_grad|\.step\(|scaler|entropy|\+=|averag|\bavg|\.grad\b|all_reduce", re.I
)
_STOOD_IN_FOR = re.compile(
    r"loader|data_?set|model$|net(work)?$|token|transform|config|args|parse|seed|logger|checkpoint|plot|save|load"
    r"|schedul|optimizers?$|optim$",
    re.I,
)
"""Functions whose result is what their name says."""
_OTHER_BASES = re.compile(r"Dataset|Optimizer|Scheduler|Sampler|Enum|Parser|Transform|Exception|Error$")

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


@dataclass
class Neighbour:
    """A file that a run may use. `tree` has the lines of its number; `taken` are the names that others get from it,
    `links` says which file a module's name with its level leads to."""

    path: Path
    text: str
    tree: ast.Module
    taken: set[str] = field(default_factory=set)
    links: dict[tuple[str, int], int] = field(default_factory=dict)


def gather(path: Path, text: str, led_over: Sequence[Path] | None) -> list[Neighbour]:
    """The file `path` and the others that a run of it may use, the file itself first; `led_over` are files that a
    finding in it speaks of, None where there is no finding. Raises `SyntaxError` where the file itself does not
    parse."""
    gathering = _Gathering(path, text)
    if led_over is not None:
        for other in led_over:
            gathering.add(other, whole=True)
        for caller in gathering.callers():
            gathering.add(caller, whole=True)
    at = 0
    while at < len(gathering.files):
        gathering.follow(at)
        at += 1
    return gathering.files


def led_over(finding: Finding, path: Path) -> dict[str, Path]:
    """The other files that a finding speaks of: their names in it, and where they are; `path` is the finding's own."""
    own = path.as_posix()
    here = own[: -len(finding.path)] if own.endswith(finding.path) else ""
    names = [mark.path for mark in (*finding.trail, *finding.related) if mark.path != finding.path]
    return {name: Path(name if Path(name).is_absolute() else here + name) for name in names}


class _Gathering:
    def __init__(self, path: Path, text: str) -> None:
        home = next((one for one in path.parents if (one / "pyproject.toml").is_file()), None)
        self.project = Project(project_roots(path, home, ()).roots)
        self.files = [Neighbour(path, text, ast.parse(text))]
        self.numbers = {_absolute(path): 0}
        self.trees: dict[Path, tuple[str, ast.Module] | None] = {}
        self.names: dict[Path, set[str]] = {}
        self.left = _MOST_TEXT

    def add(self, path: Path, *, whole: bool) -> int | None:
        """The number of a file, None where it cannot be used."""
        known = self.numbers.get(_absolute(path))
        if known is not None:
            return known
        read = self._read(path)
        if read is None or len(self.files) >= _MOST_FILES or len(read[0]) > self.left:
            return None
        text, tree = read
        number = len(self.files)
        kept = [one for one in tree.body if _defines(one)] if whole else _kept(tree, text)
        self.files.append(Neighbour(path, text, ast.increment_lineno(ast.Module(kept, []), number * LINES)))
        self.numbers[_absolute(path)] = number
        self.left -= len(text)
        # the lines of a tree change only once
        self.trees.pop(_absolute(path))
        return number

    def follow(self, number: int) -> None:
        """Adds what a file imports from its project."""
        file = self.files[number]
        for node in ast.walk(file.tree):
            if isinstance(node, ast.ImportFrom):
                self._link(file, node)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    target = self.project.resolve(file.path, alias.name, 0)
                    if target is not None and self._definitions(target):
                        self._take(file, alias.name, 0, target, self._definitions(target))

    def callers(self) -> Iterator[Path]:
        """Files that import the finding's, where none of those at hand does."""
        main = self.files[0]
        if any(self._imports(file.path, file.tree) for file in self.files[1:]):
            return
        found = 0
        for other in sorted(main.path.parent.glob("*.py"))[:_MOST_SIBLINGS]:
            if _absolute(other) in self.numbers or not _speaks_of(other, main.path.stem):
                continue
            known = self._read(other)
            if known is not None and self._imports(other, known[1]):
                yield other
                found += 1
            if found == _MOST_CALLERS:
                return

    def _imports(self, path: Path, tree: ast.Module) -> bool:
        """Whether a file imports the finding's."""
        main = _absolute(self.files[0].path)
        for node in ast.walk(tree):
            modules = []
            if isinstance(node, ast.ImportFrom):
                base = node.module or ""
                modules = [base, *(f"{base}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            level = node.level if isinstance(node, ast.ImportFrom) else 0
            for module in modules:
                target = self.project.resolve(path, module, level)
                if target is not None and _absolute(target) == main:
                    return True
        return False

    def _link(self, file: Neighbour, node: ast.ImportFrom) -> None:
        base, level = node.module or "", node.level
        target = self.project.resolve(file.path, base, level)
        for alias in node.names:
            if alias.name == "*":
                if target is not None and self._definitions(target):
                    self._take(file, base, level, target, self._definitions(target))
                continue
            if target is not None and self._provides(target, alias.name, _MOST_HOPS):
                self._take(file, base, level, target, {alias.name})
                continue
            dotted = f"{base}.{alias.name}" if base else alias.name
            inner = self.project.resolve(file.path, dotted, level)
            if inner is not None and self._definitions(inner):
                self._take(file, dotted, level, inner, self._definitions(inner))

    def _take(self, file: Neighbour, module: str, level: int, target: Path, names: Iterable[str]) -> None:
        number = self.add(target, whole=False)
        if number is not None and self.files[number] is not file:
            self.files[number].taken.update(names)
            file.links[module, level] = number

    def _read(self, path: Path) -> tuple[str, ast.Module] | None:
        key = _absolute(path)
        if key not in self.trees:
            try:
                data = read(path, _MOST_TEXT)
                text = None if data is None else decode(data, path)
                self.trees[key] = None if text is None else (text, ast.parse(text))
            except (OSError, SourceError, SyntaxError, ValueError, RecursionError):
                self.trees[key] = None
        return self.trees[key]

    def _definitions(self, path: Path) -> set[str]:
        """The names of a file that have to do with losses."""
        key = _absolute(path)
        if key not in self.names:
            known = self._tree(path)
            self.names[key] = set() if known is None else set(_of_losses(known[1].body, known[0]))
        return self.names[key]

    def _tree(self, path: Path) -> tuple[str, ast.Module] | None:
        """The text and the tree of a file, as it was taken where it was."""
        number = self.numbers.get(_absolute(path))
        return self._read(path) if number is None else (self.files[number].text, self.files[number].tree)

    def _provides(self, path: Path, name: str, hops: int) -> bool:
        """Whether a file defines or passes on a name that has to do with losses."""
        if name in self._definitions(path):
            return True
        known = self._tree(path)
        if known is None or not hops:
            return False
        for node in _statements(known[1].body):
            if not isinstance(node, ast.ImportFrom):
                continue
            for alias in node.names:
                if alias.name != "*" and (alias.asname or alias.name) != name:
                    continue
                target = self.project.resolve(path, node.module or "", node.level)
                wanted = name if alias.name == "*" else alias.name
                if target is not None and target != path and self._provides(target, wanted, hops - 1):
                    return True
        return False


def _speaks_of(path: Path, name: str) -> bool:
    """Whether a file holds a word: a file that imports another one holds its name."""
    try:
        return name.encode() in (read(path, _MOST_TEXT) or b"")
    except OSError:
        return False


def _absolute(path: Path) -> Path:
    return Path.cwd() / path


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a file, those in a `try` or an `if` too."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.Try):
            yield from _statements([*statement.body, *(s for one in statement.handlers for s in one.body)])
        elif isinstance(statement, ast.If):
            yield from _statements([*statement.body, *statement.orelse])


def _defined(statement: ast.stmt) -> tuple[str, ...]:
    if isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
        return (statement.name,)
    if isinstance(statement, ast.Assign):
        return tuple(target.id for target in statement.targets if isinstance(target, ast.Name))
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return (statement.target.id,)
    return ()


def _of_losses(body: Sequence[ast.stmt], text: str) -> Iterator[str]:
    """The names of a file that have to do with losses."""
    lines = text.splitlines()
    for statement in _statements(body):
        names = _defined(statement)
        if names and isinstance(statement, _Definition) and _matters(statement, lines):
            yield from names


def _matters(node: _Definition, lines: Sequence[str]) -> bool:
    # the line of a file of the project may have been shifted
    start, end = (node.lineno - 1) % LINES, (node.end_lineno or node.lineno) % LINES
    speaks = bool(_OF_LOSSES.search("\n".join(lines[start:end])))
    if isinstance(node, ast.ClassDef):
        bases = [last_name(base) for base in node.bases]
        if any(_OTHER_BASES.search(base) for base in bases):
            return False
        return makes_loss(node) if any(base.endswith("Module") for base in bases) else speaks
    if isinstance(node, FUNCTIONS):
        if is_lossy(node.name) or called_in(node) & SINKS:
            return True
        return speaks and not _STOOD_IN_FOR.search(node.name)
    if isinstance(node.value, ast.Constant):
        return isinstance(node.value.value, (int, float))
    return speaks and isinstance(node.value, ast.Call)


def _kept(tree: ast.Module, text: str) -> list[ast.stmt]:
    """What is kept of an imported file: imports, what has to do with losses, and what that uses; nothing that runs."""
    wanted = set(_of_losses(tree.body, text))
    defined = {name: one for one in _statements(tree.body) for name in _defined(one)}
    waiting = list(wanted)
    while waiting:
        node = defined.get(waiting.pop())
        used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} if node is not None else set()
        waiting += (used & defined.keys()) - wanted
        wanted |= used & defined.keys()
    return [one for one in tree.body if _defines(one) and (not _defined(one) or wanted & set(_defined(one)))]


def _defines(node: ast.stmt) -> bool:
    """Whether a statement imports or defines, and trains nothing."""
    if isinstance(node, (ast.If, ast.Try)):
        tested = ast.walk(node.test) if isinstance(node, ast.If) else ()
        is_main = any(isinstance(one, ast.Name) and one.id == "__name__" for one in tested)
        return not is_main and not any(isinstance(one, LOOPS) for one in ast.walk(node))
    return isinstance(node, (ast.Import, ast.ImportFrom, *FUNCTIONS, ast.ClassDef, ast.Assign, ast.AnnAssign))
