"""The user's own statements that show a bug, cut out of their file for a script of its own.

Torch-free. What a recorded run showed decides what is left: branches that were not taken go, as do loops that never
ran and statements that nothing needs. What is kept are statements of the entry and of what it calls in the same file;
only where an object is made that a script does without does a stand-in take its place.
"""

from __future__ import annotations

import ast
import builtins
import copy
import re
import symtable
from collections.abc import Iterator, Sequence

from losslint.runtime.entries import Entry
from losslint.runtime.folding import Folder
from losslint.runtime.ledger import Excerpt, FigureRow, Recording
from losslint.runtime.outline import FUNCTIONS, LOOPS, Outline, called_in, is_lossy, last_name
from losslint.runtime.slicing import Program
from losslint.runtime.statements import (
    FILLING,
    SHOW,
    bound_by_name,
    clears_gradient,
    differs,
    is_filling,
    is_plain_value,
    is_shown,
    is_stand_in,
    is_talk,
    mark_stand_in,
    names_in,
    read_in,
    says_something,
    shows,
    simple,
    steers_scaler,
    with_headers,
)

Function = ast.FunctionDef | ast.AsyncFunctionDef

_KEPT_CALLS = re.compile(r"Loss$|^Accelerator$|^GradScaler$|^prepare$")
_OBJECT = re.compile(
    r"^(Loader|Model|Batch|Optimizer|Scaler|Accelerator|Engine|Meter|Anything|loss_of_items|functools)\b"
)
_MADE = re.compile(r"(Loader|Scaler|Accelerator|Engine|Meter|Model|Optimizer)\b|[\[(].*loss_of_items\(\)")
_LIBRARIES = frozenset({"torch", "math", "contextlib", "itertools", "functools", "collections"})


class CutError(Exception):
    """Statements that cannot be cut out; the message is for the user."""


def excerpt(
    program: Program, entry: Entry, lines: Sequence[int], recording: Recording, figure: FigureRow | None
) -> Excerpt:
    """What an entry's finding on `lines` needs, with the figure it is about handed to `show`. Raises `CutError`."""
    tree = ast.parse(program.text)
    outline = Outline(tree)
    if figure is not None:
        _show(tree, figure)
    return _Cut(tree, outline, entry, frozenset(lines), recording).excerpt()


def _show(tree: ast.Module, figure: FigureRow) -> None:
    """Wrap the expression that is the figure."""

    class Wrapper(ast.NodeTransformer):
        found = False

        def generic_visit(self, node: ast.AST) -> ast.AST:
            here = isinstance(node, ast.expr) and (node.lineno, node.col_offset + 1) == (figure.line, figure.column)
            text = ast.unparse(node)[:160] if here else ""
            if here and not self.found and (figure.text == text or figure.text.startswith(f"{text} ")):
                self.found = True
                assert isinstance(node, ast.expr)
                key = ast.Constant(figure.text[len(text) + 1 :])
                shown = ast.Subscript(node, key, ast.Load()) if key.value else node
                return ast.copy_location(ast.Call(ast.Name(SHOW, ast.Load()), [shown], []), node)
            return super().generic_visit(node)

    wrapper = Wrapper()
    wrapper.visit(tree)
    if not wrapper.found:
        raise CutError(f"the reported figure `{figure.text}` of line {figure.line} cannot be cut out")
    ast.fix_missing_locations(tree)


class _Cut:
    """One cut: definitions are taken in as the kept statements turn out to call them."""

    def __init__(
        self, tree: ast.Module, outline: Outline, entry: Entry, wanted: frozenset[int], recording: Recording
    ) -> None:
        self.tree, self.outline, self.entry, self.wanted, self.recording = tree, outline, entry, wanted, recording
        self.folder = Folder(recording)
        self.functions = {
            f.name: f for f in outline.functions if outline.function_of(f) is None and not outline.owner(f)
        }
        # what is asked for its parameters is no number, whatever its maker's name says
        calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
        asked = (f.value for f in calls if isinstance(f, ast.Attribute) and f.attr in ("parameters", "train", "eval"))
        self.models = {name.id for name in asked if isinstance(name, ast.Name)}
        homes = {f.name for f in outline.functions if self._is_spoken_of(f)}
        self.spoken_of = frozenset(homes | outline.reaching(frozenset(homes)))
        self.methods: dict[str, Function] = {}
        if entry.owner:
            for owner in _family(outline, entry.owner):
                for node in outline.classes[owner].body:
                    if isinstance(node, FUNCTIONS):
                        self.methods[node.name] = node

    def excerpt(self) -> Excerpt:
        """The whole cut."""
        kept, methods = self._definitions()
        body = self._body()
        # a loop at the file's own level is what the main function does
        main = kept.pop("", [])
        source = "\n\n\n".join(ast.unparse(node) for node in self._in_order(kept, methods))
        text = "\n".join([source, *(ast.unparse(statement) for statement in main), body])
        stubs = dict(self._stubs(text))
        for value in list(stubs.values()):
            stubs.update(self._stubs(value))
        defined = {name for name in kept if name}
        stubs = {name: value for name, value in stubs.items() if name not in defined | {SHOW}}
        if main:
            body = "\n".join(map(ast.unparse, main))
        words = "\n".join([source, body])
        source, body = _used(source, words), _used(body, words)
        stubs = {name: _used(value, words) for name, value in stubs.items()}
        return Excerpt(source, body, stubs, tuple(_imports(self.tree, "\n".join([text, *stubs.values()]))))

    # ------------------------------------------------------------ definitions

    def _definitions(self) -> tuple[dict[str, list[ast.stmt]], dict[str, ast.stmt]]:
        """What is kept: functions and classes by their names (the file's own statements under none), and methods."""
        kept: dict[str, list[ast.stmt]] = {}
        methods: dict[str, ast.stmt] = {}
        if self.entry.kind == "module":
            kept[""] = self._chosen([one for one in self.tree.body if not isinstance(one, FUNCTIONS)])
            waiting = set(read_in(kept[""]))
        elif self.entry.owner:
            waiting = {f".{self.entry.name}"}
        else:
            waiting = {self.entry.name}
        known: set[str] = set()
        while waiting:
            name = waiting.pop()
            known.add(name)
            node: ast.stmt | None = None
            if name[:1] == ".":
                function = self.methods.get(name[1:])
                if function is not None and self._matters(function):
                    node = methods[name[1:]] = self._function(function)
            elif name in self.functions and (name == self.entry.name or self._matters(self.functions[name])):
                node = self._function(self.functions[name])
                kept[name] = [node]
            elif name in self.outline.classes and self._is_plain(self.outline.classes[name]):
                node = _bare(self.outline.classes[name])
                kept[name] = [node]
            if node is not None:
                waiting |= set(read_in([node])) - known
        return kept, methods

    def _matters(self, function: Function) -> bool:
        """Whether a function has to be taken in: it acts, makes a loss, or a finding speaks of it."""
        return (
            function.name == self.entry.name
            or function.name in self.outline.acting | self.spoken_of
            or (not is_lossy(function.name) and any(is_lossy(name) for name in called_in(function)))
        )

    def _is_spoken_of(self, function: Function) -> bool:
        """Whether a line of the finding or the figure lies in a function."""
        lines = range(function.lineno, (function.end_lineno or 0) + 1)
        return any(line in lines for line in self.wanted) or any(is_shown(node) for node in ast.walk(function))

    @staticmethod
    def _is_plain(node: ast.ClassDef) -> bool:
        """Whether a class is short, and derives from nothing."""
        bases = {last_name(base) for base in node.bases} - {"object"}
        loads = any(isinstance(inner, (ast.Import, ast.ImportFrom)) for inner in ast.walk(node))
        return not bases and not loads and (node.end_lineno or 0) - node.lineno < 60

    def _in_order(self, kept: dict[str, list[ast.stmt]], methods: dict[str, ast.stmt]) -> Iterator[ast.stmt]:
        """The kept definitions as they stand in the file, the methods in a class of their own at the end."""
        for name in [*self.outline.classes, *self.functions]:
            yield from kept.get(name, [])
        if methods:
            owner = ast.ClassDef(self._owner(), [ast.Name("Anything", ast.Load())], [], [], [])
            owner.body = [methods[name] for name in self.methods if name in methods]
            if hasattr(owner, "type_params"):
                owner.type_params = []
            yield ast.fix_missing_locations(owner)

    def _owner(self) -> str:
        return self.recording.owner or self.entry.owner

    def _function(self, node: Function) -> Function:
        made = copy.copy(node)
        made.decorator_list = [one for one in node.decorator_list if last_name(one) in ("staticmethod", "property")]
        made.body = self._chosen(node.body) or [ast.Pass()]
        made.returns = None
        made.args = copy.deepcopy(node.args)
        for argument in ast.walk(made.args):
            if isinstance(argument, ast.arg):
                argument.annotation = None
        # what is not given is not needed, and a default may need a name
        made.args.defaults = [_plain_default(one) for one in made.args.defaults]
        made.args.kw_defaults = [one and _plain_default(one) for one in made.args.kw_defaults]
        return ast.fix_missing_locations(made)

    # ------------------------------------------------------------ statements

    def _chosen(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        """The statements of a body that act or are spoken of, and what those need."""
        folded = self.folder.block(body)
        statements = list(simple(folded))
        headers = dict(with_headers(folded))
        chosen: set[int] = set()
        needed: set[str] = set()
        waiting = [statement for statement in statements if self._is_seed(statement)]
        while waiting:
            for statement in waiting:
                chosen.add(id(statement))
                needed |= set(names_in(self._stood_in(statement)))
                for header in headers.get(id(statement), ()):
                    needed |= set(names_in(header))
            waiting = [one for one in statements if id(one) not in chosen and self._is_needed(one, needed)]
        return self._pruned(folded, chosen, needed)

    def _is_seed(self, statement: ast.stmt) -> bool:
        if isinstance(statement, (ast.Return, ast.Break, ast.Continue)):
            return True
        spoken_of = any(statement.lineno <= line <= (statement.end_lineno or 0) for line in self.wanted)
        acts = bool(called_in(statement) & (self.outline.acting | self.spoken_of)) or steers_scaler(statement)
        return acts or clears_gradient(statement) or shows(statement) or (spoken_of and not is_talk(statement))

    def _is_needed(self, statement: ast.stmt, needed: set[str]) -> bool:
        if isinstance(statement, FUNCTIONS):
            return statement.name in needed
        if isinstance(statement, ast.Expr):
            call = statement.value
            return (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr in FILLING
                and bool(set(names_in(call.func.value)) & needed - {"self"})
            )
        return bool(bound_by_name(statement) & needed)

    def _pruned(self, body: Sequence[ast.stmt], chosen: set[int], needed: set[str]) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        for statement in body:
            if id(statement) in chosen:
                result.append(self._short(self._stood_in(statement), needed))
            elif isinstance(statement, (ast.If, ast.With, *LOOPS)):
                statement.body = self._pruned(statement.body, chosen, needed)
                if not isinstance(statement, ast.With):
                    statement.orelse = self._pruned(statement.orelse, chosen, needed)
                if says_something([*statement.body, *getattr(statement, "orelse", [])]):
                    statement.body = statement.body or [ast.Pass()]
                    result.append(statement)
        return result

    def _short(self, statement: ast.stmt, needed: set[str]) -> ast.stmt:
        """A statement that shows the figure, without what else it shows."""
        shown = next((node for node in ast.walk(statement) if isinstance(node, ast.Call) and is_shown(node)), None)
        if shown is not None and isinstance(statement, ast.Expr) and not is_filling(statement):
            return ast.copy_location(ast.Expr(shown), statement) if set(names_in(statement)) - needed else statement
        if isinstance(statement, ast.Return) and isinstance(statement.value, ast.Tuple):
            statement.value.elts = [
                one if not set(names_in(one)) - needed else ast.Constant(None) for one in statement.value.elts
            ]
        return statement

    def _stood_in(self, statement: ast.stmt) -> ast.stmt:
        """An assignment with a stand-in for an object that the script cannot make, or for a loss that it would not."""
        if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or statement.value is None:
            return statement
        value = statement.value
        place = (value.lineno, value.col_offset + 1)
        if is_shown(value) or is_stand_in(value):
            return statement
        if place in self.recording.forced:
            if not {"criterion", "loss_of_items"} & called_in(value):
                statement.value = ast.copy_location(ast.Call(ast.Name("loss_of_items", ast.Load()), [value], []), value)
            return ast.fix_missing_locations(statement)
        told = self.recording.bound.get(place, "")
        if re.fullmatch(r"[\d.]+", told) and bound_by_name(statement) & self.models:
            told = "Model()"
        made = isinstance(value, (ast.Name, ast.Constant)) or told == "loss_of_items()"
        if not told or made or _KEPT_CALLS.search(last_name(value)):
            return statement
        in_loop = any(isinstance(outer, LOOPS) for outer in self._around(statement))
        if in_loop:
            stands = _MADE.match(told) is not None
        else:
            stands = bool(_OBJECT.match(told)) or not is_plain_value(value) or differs(value, told)
        if stands and not is_plain_value(value, names=True):
            statement.value = ast.copy_location(ast.parse(told, mode="eval").body, value)
            ast.fix_missing_locations(statement)
            mark_stand_in(statement.value)
        return statement

    def _around(self, statement: ast.stmt) -> Iterator[ast.AST]:
        for outer in self.outline.around(statement):
            if isinstance(outer, FUNCTIONS):
                return
            yield outer

    # ------------------------------------------------------------ names

    def _body(self) -> str:
        """What calls the entry; empty for the file's own statements."""
        entry, told = self.entry, self.recording
        if entry.kind == "module":
            return ""
        made = ""
        if entry.owner:
            source = "\n".join(ast.unparse(node) for node in self.methods.values())
            values = {name: told_ for name, told_ in told.attributes.items() if re.search(rf"\bself\.{name}\b", source)}
            made = f"{self._owner()}({', '.join(f'{name}={value}' for name, value in values.items())})"
        if entry.kind == "lightning":
            return f"trainer_fits({made})"
        node = self.methods[entry.name] if entry.owner else self.functions[entry.name]
        names = _parameters(node, skip=bool(entry.owner))
        batch = {name: value for name, value in told.arguments.items() if name in names}
        if not entry.driven:
            source = ast.unparse(node)
            arguments = ", ".join(f"{name}={_fitting(name, value, source)}" for name, value in batch.items())
            return f"{made}.{entry.name}({arguments})" if made else f"{entry.name}({arguments})"
        arguments = ", ".join(f"{name}={_driven(name, value)}" for name, value in batch.items())
        callee = f"trainer.{entry.name}" if made else entry.name
        first = f"trainer = {made}\n" if made else ""
        return f"{first}for _ in range(2):\n    for index, batch in enumerate(Loader()):\n        {callee}({arguments})"

    def _stubs(self, text: str) -> Iterator[tuple[str, str]]:
        """The names that a text leaves open, and what stands for them."""
        imported = {
            (alias.asname or alias.name).split(".")[0]
            for node in ast.walk(self.tree)
            if isinstance(node, (ast.Import, ast.ImportFrom)) and _is_library(node)
            for alias in node.names
        }
        for name in sorted(_open_names(text) - imported - set(dir(builtins)) - _WORDS):
            told = self.recording.names.get(name, "") or self.recording.arguments.get(name, "")
            if name in self.functions or name in self.outline.classes:
                told = "loss_of_items" if is_lossy(name) else "Anything()"
            yield name, _fitting(name, told, text) if told or not is_lossy(name) else "loss_of_items"


_WORDS = frozenset(
    "torch gain rounds functools loss_of_items Loader Model Batch Optimizer Scaler Accelerator Engine Meter Anything "
    "trainer_fits".split()
)
"""The names of the script's own that stand for things."""


def _fitting(name: str, told: str, text: str) -> str:
    """What stands for a name in a text; what a text asks for attributes, is no number."""
    is_asked = re.search(rf"(?<![\w.]){name}(\.|\()", text)
    return "Anything()" if not told or (is_asked and re.fullmatch(r"[\d.]+|None|False|True", told)) else told


def _driven(name: str, value: str) -> str:
    if re.match(r"^(batch_?(idx|index|id|nb|num|no)|i|it|idx|index|step|iteration)$", name):
        return "index"
    return "batch" if not value or value == "Anything()" else value


def _family(outline: Outline, owner: str) -> list[str]:
    """A class, those of the file that it derives from, and those that derive from it, the most derived last."""
    found = [owner] if owner in outline.classes else []
    changed = True
    while changed:
        bases = {last_name(base) for name in found[:1] for base in outline.classes[name].bases}
        more = [name for name in bases if name in outline.classes and name not in found]
        changed = bool(more)
        found = [*more, *found]
    for name, node in outline.classes.items():
        if name not in found and any(last_name(base) in found for base in node.bases):
            found.append(name)
    return found


def _bare(node: ast.ClassDef) -> ast.ClassDef:
    """A class without docstrings and decorators."""
    made = copy.deepcopy(node)
    for inner in ast.walk(made):
        if isinstance(inner, (ast.ClassDef, *FUNCTIONS)):
            first = inner.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                inner.body = inner.body[1:] or [ast.Pass()]
    return made


def _plain_default(value: ast.expr) -> ast.expr:
    return value if isinstance(value, ast.Constant) or not set(names_in(value)) else ast.Constant(None)


def _parameters(function: Function, *, skip: bool) -> list[str]:
    arguments = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    arguments = arguments[1:] if skip and arguments and arguments[0] in ("self", "cls") else arguments
    return [*arguments, *(argument.arg for argument in function.args.kwonlyargs)]


# ---------------------------------------------------------------- names


def _used(text: str, words: str) -> str:
    """A text whose stand-ins have only the attributes that occur in some words."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Anything":
            node.keywords = [one for one in node.keywords if re.search(rf"(\.{one.arg}\b|\['{one.arg}'\])", words)]
    return ast.unparse(tree)


def _open_names(text: str) -> set[str]:
    """Names that a text reads of its surroundings and does not bind itself."""
    top = symtable.symtable(text, "script", "exec")
    bound = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_namespace()}
    found: set[str] = set()
    tables = [top]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (table is top or symbol.is_global()):
                found.add(symbol.get_name())
    return found - bound


def _is_library(node: ast.Import | ast.ImportFrom) -> bool:
    if isinstance(node, ast.ImportFrom) and node.level:
        return False
    names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    return all(name.split(".")[0] in _LIBRARIES for name in names)


def _imports(tree: ast.Module, source: str) -> Iterator[str]:
    """The imports of torch and of the standard library that the source uses, name by name."""
    used = set(re.findall(r"[A-Za-z_]\w*", source))
    seen = {"import torch"}
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Import, ast.ImportFrom)) or not _is_library(node):
            continue
        wanted = [alias for alias in node.names if (alias.asname or alias.name).split(".")[0] in used - _WORDS]
        if wanted:
            made = copy.copy(node)
            made.names = wanted
            text = ast.unparse(made)
            if text not in seen:
                seen.add(text)
                yield text
