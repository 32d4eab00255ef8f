"""The user's project as one file sees it: its modules, loaded when asked for, and what an imported name means."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from losslint import unsaved
from losslint.contracts.hints import NO_HINTS, Hints
from losslint.lowering import ir
from losslint.source import MAX_BYTES, SourceError, SourceFile, decode, read

if TYPE_CHECKING:
    import libcst as cst

MAX_BRACKETS = 200
"""How deep brackets may be nested: Python's own parser gives up there too."""

_FORM_FEED = re.compile(r"^[ \t\f]*\f(?=[ \t]*[^\s#])", re.MULTILINE)
_PAIR = re.compile(r"\(\)|\[\]|\{\}")
_NO_BRACKETS = re.compile(r"[^()\[\]{}]+")

MAX_FOLLOWED_BYTES = 1024 * 1024
"""An imported file above this size is generated: it is not followed."""

MAX_FOLLOWED = 40
"""How many imported files are followed for one analysed file."""

MAX_SEARCHED = 400
"""How many files are searched for one that uses a module."""

_NEXT_DEFINITION = re.compile(rb"^(?=[^\s#)\]}])", re.MULTILINE)
_OF_INTEREST = re.compile(
    rb"loss|criteri|backward|zero_grad|clip_|\+=|DataLoader|Dataset|\.step\(|reduce|optim|avg|mean|scaler|entropy|accumul",
    re.IGNORECASE,
)

MAX_FOLLOWED_TEXT = 320 * 1024
"""How much text of imported files is parsed for one analysed file: parsing is what an analysis spends its time on."""

MAX_HOPS = 5
"""How many re-exports a name is followed through."""

_MAX_KEPT = 6 * MAX_FOLLOWED
_FOREIGN_FOLDERS = frozenset({"site-packages", "dist-packages"})

Definition: TypeAlias = ir.Function | ir.Class | ir.Assign | ir.Declare | ir.Import | ir.ImportFrom


class Project:
    """Loads the modules of one project. `roots` are the folders that absolute imports start from, best first.

    `add` and `load` begin with a new analysed file: the bound on followed files and `notes` start afresh, while
    modules stay loaded from file to file.
    """

    def __init__(self, roots: Sequence[Path], hints: Hints = NO_HINTS) -> None:
        self.hints = hints
        self.roots = tuple(_absolute(root) for root in roots)
        self.notes: list[str] = []
        self._modules: dict[Path, ir.Module | None] = {}
        self._places: dict[str, Path] = {}
        self._definitions: dict[ir.Module, dict[str, Definition]] = {}
        self._followed: set[Path] = set()
        self._left = MAX_FOLLOWED_TEXT
        self._texts: dict[Path, bytes] = {}
        self._resolved: dict[tuple[Path, str, int], Path | None] = {}
        self._importers: dict[Path, list[bytes]] = {}
        self._stamps: dict[Path, object] = {}

    @property
    def loaded(self) -> list[ir.Module]:
        """Every module that the analysed file has led to, itself included."""
        return [module for path in self._followed if (module := self._modules.get(path)) is not None]

    def add(self, source: SourceFile) -> ir.Module:
        """The module of an analysed file whose text is at hand. Raises `SourceError`."""
        path = _absolute(source.path)
        self._begin(path)
        self._stamps[path] = unsaved.stamp(path)
        return self._keep(path, _parse(source))

    def load(self, path: Path) -> ir.Module:
        """The module of an analysed file. Raises `SourceError`, and `OSError` where it cannot be read."""
        path = _absolute(path)
        self._begin(path)
        known = self._modules.get(path)
        if known is not None:
            return known
        self._stamps[path] = unsaved.stamp(path)
        return self._keep(path, _parse(_read(path)))

    def restore(self, module: ir.Module) -> None:
        """Takes a module back that another text had taken the place of."""
        self._keep(self._path(module), module)

    def module(self, importer: ir.Module | Path, dotted: str, level: int) -> ir.Module | None:
        """What `import dotted` means, or `from` a relative one; None for what is not of the project or not followed."""
        path = self.resolve(self._path(importer), dotted, level)
        return None if path is None else self._follow(path)

    def find(
        self, importer: ir.Module | Path, module: str, level: int, name: str
    ) -> tuple[ir.Module, Definition | None] | None:
        """What `from module import name` means: the module that defines it, and the definition.

        The definition is None where the name is a module itself. Re-exports and star imports are followed; None
        means not of the project, not followed, or not found.
        """
        return self._find(self._path(importer), module, level, name, MAX_HOPS, set())

    def resolve(self, importer: Path, module: str, level: int) -> Path | None:
        """The file that a module name of `importer` leads to, if it is of the project.

        A package is its `__init__.py`. An absolute name is looked for from the importer's folder if that is no
        package (a script imports its neighbours), from the roots and from the folder above the importer's outermost
        package; last, for code that was moved into a package, from a package folder itself.
        """
        key = (_absolute(importer).parent, module, level)
        if key not in self._resolved:
            parts = [part for part in module.split(".") if part]
            files = (_module_file(start, parts) for start in self._starts(key[0], parts, level))
            self._resolved[key] = next((file for file in files if file is not None), None)
        return self._resolved[key]

    def resolve_name(self, importer: ir.Module | Path, dotted: str) -> bool:
        """Whether the absolute name `dotted` is a module or a folder of modules of the project."""
        path = self._path(importer)
        if self.resolve(path, dotted, 0) is not None:
            return True
        parts = [part for part in dotted.split(".") if part]
        starts = self._starts(_absolute(path).parent, parts, 0)
        return any(any(start.joinpath(*parts).glob("*.py")) for start in starts)

    def used_elsewhere(self, module: ir.Module, name: str) -> bool:
        """Whether another file of the project imports `module` and speaks of `name`."""
        path = _absolute(self._path(module))
        if path not in self._importers:
            stem = path.parent.name if path.name == "__init__.py" else path.stem
            imports = re.compile(rb"^\s*(?:from|import)\b[^\n#]*\b" + re.escape(stem).encode() + rb"\b", re.MULTILINE)
            files = islice(_files(self.roots or (path.parent,)), MAX_SEARCHED)
            texts = (_bytes(file) for file in files if file != path)
            self._importers[path] = [text for text in texts if imports.search(text)]
        return any(name.encode() in text for text in self._importers[path])

    def _starts(self, folder: Path, parts: list[str], level: int) -> list[Path]:
        """The folders in which the first part of a module name is looked for, best first."""
        if level:
            for _ in range(level - 1):
                folder = folder.parent
            return [folder]
        if not parts:
            return []
        above = folder
        while above.parent != above and _is_package(above):
            above = above.parent
        if above == folder:
            starts = [folder, *self.roots]
        else:
            starts = [*self.roots, above]
            if parts[0] not in sys.stdlib_module_names:
                starts.append(folder)
        return list(dict.fromkeys(starts))

    def definitions(self, module: ir.Module) -> dict[str, Definition]:
        """The names that a module binds at its top level (see the function `definitions`), worked out once."""
        known = self._definitions.get(module)
        if known is None:
            known = self._definitions[module] = definitions(module)
        return known

    def _begin(self, path: Path) -> None:
        if unsaved.is_live():
            self._forget_changed()
        self.notes.clear()
        self._resolved.clear()
        self._followed = {path}
        self._left = MAX_FOLLOWED_TEXT

    def _forget_changed(self) -> None:
        """Forgets the files that are no longer what they were when they were read."""
        for path, stamp in list(self._stamps.items()):
            if unsaved.stamp(path) != stamp:
                self._drop(path)
                self._texts.pop(path, None)
                del self._stamps[path]
        self._importers.clear()

    def _drop(self, path: Path) -> None:
        dropped = self._modules.pop(path, None)
        if dropped is not None:
            self._definitions.pop(dropped, None)
            self._places.pop(dropped.path, None)

    def _path(self, importer: ir.Module | Path) -> Path:
        if isinstance(importer, Path):
            return importer
        return self._places.get(importer.path) or Path(importer.path)

    def _keep(self, path: Path, module: ir.Module) -> ir.Module:
        self._drop(path)
        self._modules[path] = module
        self._places[module.path] = path
        for old in list(self._modules)[:-_MAX_KEPT]:
            if old not in self._followed:
                self._drop(old)
        return module

    def _follow(self, path: Path) -> ir.Module | None:
        """The module of an imported file; None, with a note, where it is out of bounds or no valid Python."""
        name = _name(path)
        if path not in self._followed:
            # the analysed file itself is one of them
            if len(self._followed) > MAX_FOLLOWED:
                self._note(f"more than {MAX_FOLLOWED} imported files, the rest are not followed")
                return None
            self._followed.add(path)
            # whether a file is loaded already must not matter: one file's findings do not depend on the others linted
            self._left -= _size(path)
        if self._left < 0:
            self._note(f"more than {MAX_FOLLOWED_TEXT >> 10} KB of imported files, the rest are not followed")
            return None
        if path in self._modules:
            known = self._modules[path]
            if known is None:
                self._note(f"imported file `{name}` cannot be analyzed and is not followed")
            return known
        self._stamps.setdefault(path, unsaved.stamp(path))
        try:
            if unsaved.size(path) > MAX_FOLLOWED_BYTES:
                self._note(f"imported file `{name}` is larger than {MAX_FOLLOWED_BYTES >> 20} MB and is not followed")
                return None
            return self._keep(path, _parse(_read(path)))
        except (OSError, SourceError, RecursionError):
            self._modules[path] = None
            self._note(f"imported file `{name}` cannot be analyzed and is not followed")
            return None

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _find(
        self, importer: Path, module: str, level: int, name: str, hops: int, seen: set[tuple[Path, str]]
    ) -> tuple[ir.Module, Definition | None] | None:
        path = self.resolve(importer, module, level)
        if path is not None and not self._matters(path, name):
            return None
        if path is not None:
            home = self._follow(path)
            if home is not None:
                found = self._member(path, home, name, hops, seen)
                if found is not None:
                    return found
        submodule = self.resolve(importer, f"{module}.{name}", level)
        target = None if submodule is None else self._follow(submodule)
        return None if target is None else (target, None)

    def _matters(self, path: Path, name: str) -> bool:
        """Whether what a file defines under a name can have to do with a loss, told from its text.

        Following an import costs a parse of its whole file, and most of what is imported (models, plots, parsers of
        arguments) says nothing about the arithmetic of the loop. What is not defined there is looked for.
        """
        if path not in self._modules:
            if path not in self._texts:
                self._stamps.setdefault(path, unsaved.stamp(path))
                self._texts[path] = _bytes(path)
            text = self._texts[path]
            start = re.search(
                rb"^(?:class|def|async def)[ \t]+" + re.escape(name.encode()) + rb"\b", text, re.MULTILINE
            )
            if start is not None:
                end = _NEXT_DEFINITION.search(text, start.end())
                body = text[start.start() : end.start() if end is not None else len(text)]
                return _OF_INTEREST.search(body) is not None
        return True

    def _member(
        self, path: Path, home: ir.Module, name: str, hops: int, seen: set[tuple[Path, str]]
    ) -> tuple[ir.Module, Definition | None] | None:
        """What `name` is in a module, followed to where it is defined by at most `hops` more; `seen` ends circles."""
        if (path, name) in seen or hops < 0:
            return None
        seen.add((path, name))
        definition = self.definitions(home).get(name)
        if isinstance(definition, ir.ImportFrom):
            original = next(imported for imported, bound in definition.names if bound == name)
            return self._find(path, definition.module, definition.level, original, hops - 1, seen)
        if isinstance(definition, ir.Import):
            dotted = next(dotted if whole else name for dotted, bound, whole in definition.names if bound == name)
            target = self.module(path, dotted, 0)
            return None if target is None else (target, None)
        if definition is not None:
            return home, definition
        if name.startswith("_"):
            return None
        for star in reversed(home.imports):
            if isinstance(star, ir.ImportFrom) and star.names == (("*", "*"),):
                source = self.resolve(path, star.module, star.level)
                starred = None if source is None else self._follow(source)
                if source is not None and starred is not None:
                    found = self._member(source, starred, name, hops - 1, seen)
                    if found is not None:
                        return found
        return None


def definitions(module: ir.Module) -> dict[str, Definition]:
    """The names that a module binds at its top level, those inside `if`, `try` and `with` included.

    A later binding replaces an earlier one; the first branch of an `if` and the body of a `try` win over the others.
    """
    return _bindings(module.body)


def _bindings(block: ir.Block) -> dict[str, Definition]:
    found: dict[str, Definition] = {}
    for statement in block:
        if isinstance(statement, ir.Function | ir.Class):
            found[statement.name] = statement
        elif isinstance(statement, ir.Assign):
            for target in statement.targets:
                found.update(dict.fromkeys(_names(target), statement))
        elif isinstance(statement, ir.Declare):
            for name in _names(statement.target):
                found.setdefault(name, statement)
        elif isinstance(statement, ir.Import):
            found.update(dict.fromkeys([bound for _, bound, _ in statement.names], statement))
        elif isinstance(statement, ir.ImportFrom):
            found.update(dict.fromkeys([bound for _, bound in statement.names if bound != "*"], statement))
        elif isinstance(statement, ir.If):
            found |= _bindings(statement.orelse) | _bindings(statement.body)
        elif isinstance(statement, ir.Try):
            for handler in statement.handlers:
                found |= _bindings(handler)
            found |= _bindings(statement.body) | _bindings(statement.orelse) | _bindings(statement.final)
        elif isinstance(statement, ir.With):
            found |= _bindings(statement.body)
    return found


def _names(target: ir.Expr) -> list[str]:
    if isinstance(target, ir.Name):
        return [target.id]
    if isinstance(target, ir.Starred):
        return _names(target.value)
    if isinstance(target, ir.Collection):
        return [name for item in target.items for name in _names(item)]
    return []


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))


def _name(path: Path) -> str:
    """What findings call a file: posix, relative to the working directory where it lies below it."""
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else path.as_posix()


def _files(roots: Sequence[Path]) -> Iterator[Path]:
    """The Python files below `roots`, hidden and foreign folders left out."""
    for root in roots:
        for folder, inner, names in os.walk(root):
            inner[:] = sorted(name for name in inner if not name.startswith(".") and name not in _FOREIGN_FOLDERS)
            yield from (Path(folder, name) for name in sorted(names) if name.endswith(".py"))


def _bytes(path: Path) -> bytes:
    try:
        return read(path) or b"" if unsaved.size(path) <= MAX_FOLLOWED_BYTES else b""
    except OSError:
        return b""


def _size(path: Path) -> int:
    try:
        return unsaved.size(path)
    except OSError:
        return 0


def _is_package(folder: Path) -> bool:
    return unsaved.is_file(folder / "__init__.py")


def _module_file(start: Path, parts: list[str]) -> Path | None:
    """The file of the module `parts` below `start`; installed packages are not of the project."""
    if not _FOREIGN_FOLDERS.isdisjoint(parts):
        return None
    target = start.joinpath(*parts)
    package = target / "__init__.py"
    if unsaved.is_file(package):
        return package
    if parts:
        file = target.with_name(f"{target.name}.py")
        if unsaved.is_file(file):
            return file
    return None


def _read(path: Path) -> SourceFile:
    data = read(path)
    if data is None:
        raise SourceError(path, 1, 1, f"file is larger than {MAX_BYTES >> 20} MB")
    return SourceFile(path, _name(path), decode(data, path))


def parse(source: SourceFile) -> cst.Module:
    """The tree of a text. Raises `SourceError`."""
    import libcst

    if depth_of_brackets(source.text, MAX_BRACKETS) > MAX_BRACKETS:
        # libcst's parser is native code: it would take the process down with it
        raise SourceError(source.path, 1, 1, f"more than {MAX_BRACKETS} brackets are open at once")
    try:
        # before the first token of a line a form feed means nothing to Python, and is an error to libcst
        return libcst.parse_module(_FORM_FEED.sub("", source.text))
    except libcst.ParserSyntaxError as error:
        raise _syntax_error(source, error.raw_line) from None


def _parse(source: SourceFile) -> ir.Module:
    """Parse and lower. Raises `SourceError`."""
    from losslint.lowering.lower import lower

    return lower(parse(source), source.name)


def depth_of_brackets(text: str, enough: int) -> int:
    """How many brackets are open at once, at most; counted to one more than `enough`.

    Brackets in strings and comments count too where they do not close: there are never so many of them.
    """
    left = _NO_BRACKETS.sub("", text)
    for depth in range(enough + 1):
        shorter = _PAIR.sub("", left)
        if len(shorter) == len(left):
            return depth
        left = shorter
    return enough + 1


def _syntax_error(source: SourceFile, line: int) -> SourceError:
    """Where and why the text is no valid Python, in CPython's words, which are clearer than libcst's.

    `line` is libcst's guess, for what only libcst does not understand.
    """
    import ast
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source.text)
    except SyntaxError as error:
        return SourceError(source.path, error.lineno or line, max(error.offset or 1, 1), error.msg)
    except (ValueError, RecursionError, MemoryError):
        pass
    return SourceError(source.path, line, 1, "cannot be parsed")
