"""A file made ready for the tiny world: its own statements, with a hook at each place where the world decides.

Torch-free. The statements themselves are left as they are; around them stand hooks: a condition is asked through
`branch`, a loop draws through `loop`, what is shown passes through `seen`, and a simple statement that cannot be run
for want of a real object is skipped and noted, and what it would have bound becomes a gap.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from losslint.contracts.torch import FUNCTIONAL
from losslint.findings import Range

HOOK = "__world__"
"""The name under which the instrumented code finds the world."""

BACKWARD = frozenset({"backward", "manual_backward", "loss_scaler"})
STEP = frozenset({"step", "optimizer_step"})
_SINKS = BACKWARD | STEP | {"zero_grad", "unscale_", "clip_grad_norm_", "clip_grad_value_", "scale_loss"}
_PER_BATCH = frozenset({"forward", "__call__"})
"""Methods that are called once per batch."""
_KEPT_DECORATORS = frozenset(
    "staticmethod classmethod property contextmanager no_grad inference_mode enable_grad dataclass setter"
    " cached_property lru_cache cache wraps abstractmethod".split()
)
_WINDOW_WORDS = re.compile(
    r"accum|update_freq|grad_acc|acc_steps|batch_multiplier|iter_size|subdivis|(^|_)gas$|backward_passes", re.I
)
_LOOPS = (ast.For, ast.While, ast.AsyncFor)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SIMPLE = (ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.Delete)

Names = str | tuple["Names", ...]
"""The targets of an unpacking, nested as in the code."""


@dataclass(frozen=True, slots=True)
class Place:
    """What the world needs to know about one hook. `wanted`: the outcome of a condition that leads to what is looked
    for (None: no preference). `trains`: a loop whose body reaches a backward; `outer`: and does so in a loop inside.
    """

    line: int
    column: int
    text: str
    kind: str
    wanted: bool | None = None
    trains: bool = False
    outer: bool = False
    names: Names = ""
    leaves: bool = False
    varies: bool = False
    spans: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One way into the code: a function or method to call, or the module itself. `driven`: the function holds no loop
    of its own and is called once per batch."""

    kind: str
    name: str
    owner: str = ""
    driven: bool = False


@dataclass
class Program:
    """The instrumented file. `windows` and `logs` are the names (and literals) that hold the accumulation window and
    the logging interval; `numbers` are the defaults that the code gives to arguments of the command line,
    `steppers` what steps or is zeroed: an `opt` that is neither holds options; `imports` are the packages that it
    imports."""

    text: str
    tree: ast.Module
    places: list[Place]
    windows: frozenset[str]
    window_literal: int | None
    logs: frozenset[str]
    entries: tuple[Entry, ...]
    loss_modules: frozenset[str]
    lossy_names: frozenset[str]
    defined: frozenset[str]
    numbers: dict[str, int]
    steppers: frozenset[str]
    imports: frozenset[str]


# ---------------------------------------------------------------- reading the tree


def last_name(node: ast.AST) -> str:
    """The last name of a dotted chain, of a call's function or of a subscript with a constant key; else empty."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Call):
        return last_name(node.func)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
        return node.slice.value
    return ""


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    return (inner for inner in ast.walk(node) if isinstance(inner, ast.Call))


def _called(node: ast.AST) -> set[str]:
    return {last_name(call.func) for call in _calls(node)}


class Outline:
    """The functions of a file, who calls whom, and which of them reach a backward or a step."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        self.functions = [node for node in ast.walk(tree) if isinstance(node, _FUNCTIONS)]
        self.classes = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}

    def owner(self, function: ast.AST) -> ast.ClassDef | None:
        """The class whose method a function is."""
        parent = self.parents.get(function)
        return parent if isinstance(parent, ast.ClassDef) else None

    def function_of(self, node: ast.AST) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        """The innermost function around a node."""
        at: ast.AST | None = self.parents.get(node)
        while at is not None and not isinstance(at, _FUNCTIONS):
            at = self.parents.get(at)
        return at

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around a node, from the inside out."""
        at = self.parents.get(node)
        while at is not None:
            yield at
            at = self.parents.get(at)

    @cached_property
    def calls_of(self) -> dict[str, set[str]]:
        """Function name -> the names it calls."""
        found: dict[str, set[str]] = {}
        for function in self.functions:
            found.setdefault(function.name, set()).update(_called(function))
        return found

    def reaching(self, names: frozenset[str]) -> set[str]:
        """The functions that call one of some names, themselves or through others of the file."""
        found: set[str] = set()
        while True:
            more = {name for name, calls in self.calls_of.items() if name not in found and calls & (names | found)}
            if not more:
                return found
            found |= more

    @cached_property
    def training(self) -> frozenset[str]:
        """The names whose call runs a backward."""
        return BACKWARD | frozenset(self.reaching(BACKWARD))

    @cached_property
    def stepping(self) -> frozenset[str]:
        """The names whose call takes an optimizer step."""
        names = frozenset({"zero_grad"}) | STEP
        return names | frozenset(self.reaching(names))

    @cached_property
    def acting(self) -> frozenset[str]:
        """The names whose call touches gradients."""
        return _SINKS | frozenset(self.reaching(_SINKS))

    def callers(self, name: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        """The functions of the file that call a name."""
        return [function for function in self.functions if function.name != name and name in _called(function)]


# ---------------------------------------------------------------- the window


def _moduli(test: ast.AST) -> Iterator[ast.expr]:
    """What counters are compared with, or taken modulo, in a condition."""
    for node in ast.walk(test):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and not isinstance(node.left, ast.Constant):
            yield node.right


def _counted(test: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(test):
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], (ast.Eq, ast.GtE, ast.Gt)):
            side = node.comparators[0]
            if isinstance(side, (ast.Name, ast.Attribute, ast.Subscript)) and _WINDOW_WORDS.search(last_name(side)):
                yield side


@dataclass(frozen=True, slots=True)
class _Intervals:
    windows: frozenset[str]
    window_literals: frozenset[int]
    logs: frozenset[str]
    log_literals: frozenset[int]


def _tests(outline: Outline) -> Iterator[tuple[ast.AST, list[ast.stmt]]]:
    """Every condition with the statements that hang on it, also through a flag of the same function."""
    for node in ast.walk(outline.tree):
        if isinstance(node, ast.If):
            leaves = bool(node.body) and isinstance(node.body[-1], (ast.Continue, ast.Return))
            rest = _rest(outline, node) if leaves else []
            yield node.test, [*node.body, *node.orelse, *rest]
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and any(True for _ in _moduli(node.value)):
            flag = last_name(node.targets[0])
            scope = outline.function_of(node) or outline.tree
            for other in ast.walk(scope):
                if isinstance(other, ast.If) and flag and flag in {last_name(n) for n in ast.walk(other.test)}:
                    yield node.value, [*other.body, *other.orelse]
                elif isinstance(other, ast.Call) and any(
                    flag and flag in {last_name(n) for n in ast.walk(word.value)} for word in other.keywords
                ):
                    yield node.value, [ast.Expr(other)]


def _rest(outline: Outline, node: ast.If) -> list[ast.stmt]:
    parent = outline.parents.get(node)
    body = getattr(parent, "body", [])
    return body[body.index(node) + 1 :] if node in body else []


def _intervals(outline: Outline, extra: Iterable[str]) -> _Intervals:
    windows: set[str] = set(extra)
    literals: set[int] = set()
    other: set[str] = set()
    other_literals: set[int] = set()
    for test, body in _tests(outline):
        acts = any(_called(statement) & outline.stepping for statement in body)
        for right in _moduli(test):
            name = last_name(right)
            if isinstance(right, ast.Constant) and isinstance(right.value, int):
                (literals if acts else other_literals).add(right.value)
            elif name:
                (windows if acts else other).add(name)
        for right in _counted(test):
            windows.add(last_name(right))
    for loop in ast.walk(outline.tree):
        if not isinstance(loop, ast.For) or last_name(loop.iter) not in ("range", "trange"):
            continue
        inner = {name for statement in loop.body for name in _called(statement)}
        around = next((node for node in outline.around(loop) if isinstance(node, _LOOPS)), None)
        if inner & outline.training and not inner & STEP and around is not None and _called(around) & outline.stepping:
            assert isinstance(loop.iter, ast.Call)
            for argument in loop.iter.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, int):
                    literals.add(argument.value)
                elif _WINDOW_WORDS.search(last_name(argument)) or isinstance(argument, (ast.Name, ast.Attribute)):
                    windows.add(last_name(argument))
    for call in _calls(outline.tree):
        for word in call.keywords:
            if word.arg in ("gradient_accumulation_steps", "accumulate_grad_batches") and last_name(word.value):
                windows.add(last_name(word.value))
    for node in ast.walk(outline.tree):
        if isinstance(node, (ast.Name, ast.Attribute)) and _WINDOW_WORDS.search(last_name(node)):
            windows.add(last_name(node))
        if isinstance(node, ast.arg) and _WINDOW_WORDS.search(node.arg):
            windows.add(node.arg)
    called = {last_name(call.func) for call in _calls(outline.tree)} - set(extra)
    windows -= {"", "self", "args", "cfg"} | {f.name for f in outline.functions} | called
    return _Intervals(
        frozenset(windows),
        frozenset(n for n in literals if 2 <= n <= 64),
        frozenset(other - windows - {""}),
        frozenset(n for n in other_literals - literals if n >= 2),
    )


# ---------------------------------------------------------------- instrumenting


def program(text: str, filename: str, wanted: Sequence[int], windows: Iterable[str] = ()) -> Program:
    """Instruments a file. `wanted` are the lines that a run should pass, the most important first; `windows` are names
    that are known to hold the window. Raises `SyntaxError`."""
    tree = ast.parse(text, filename)
    outline = Outline(tree)
    intervals = _intervals(outline, windows)
    lossy = _lossy_names(outline)
    numbers = _numbers(outline)
    entries = tuple(_entries(outline, wanted))
    hooks = _Hooks(outline, frozenset(wanted), intervals, lossy)
    loss_modules = frozenset(name for name, node in outline.classes.items() if _makes_loss(node))
    imports = _imports(tree)
    instrumented = hooks.module(tree)
    places = _agreed(hooks.places)
    ast.fix_missing_locations(instrumented)
    return Program(
        text,
        instrumented,
        places,
        intervals.windows,
        hooks.literal,
        intervals.logs,
        entries,
        loss_modules,
        lossy,
        frozenset(f.name for f in outline.functions) | frozenset(outline.classes),
        numbers,
        _steppers(outline),
        imports,
    )


def made(text: str, marks: Sequence[Range]) -> frozenset[str]:
    """The names that the statements at some places bind, or whose methods they call, and other names of the same."""
    found: set[str] = set()
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return frozenset()
    for node in ast.walk(tree):
        if not isinstance(node, _SIMPLE) or not any(
            node.lineno <= mark.start_line and mark.end_line <= (node.end_lineno or 0) for mark in marks
        ):
            continue
        if isinstance(node, ast.Assign):
            found |= {last_name(name) for target in node.targets for name in _bound(target)}
        elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
            found |= {last_name(name) for name in _bound(node.target)}
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            function = node.value.func
            found |= {last_name(function.value)} if isinstance(function, ast.Attribute) else set()
    assignments = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    for copy in sorted(assignments, key=lambda node: node.lineno):
        if last_name(_read(copy.value)) in found:
            found |= {last_name(name) for target in copy.targets for name in _bound(target)}
    return frozenset(found - {"", "self"})


def _read(value: ast.expr) -> ast.expr:
    """What a plain read reads: `total` of `total`, and of `total.item()`."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and not value.args:
        return value.func.value
    return value if isinstance(value, (ast.Name, ast.Attribute)) else ast.Constant(None)


def _agreed(places: list[Place]) -> list[Place]:
    """A condition that is asked twice in the same words has one answer."""
    chosen = {place.text: place.wanted for place in places if place.kind == "if" and place.spans}
    return [
        replace(place, wanted=chosen[place.text]) if place.kind == "if" and place.text in chosen else place
        for place in places
    ]


_LOSSY = re.compile(r"loss|(^|_)(cost|objective|nll|elbo|criterion)(_|\d|$)", re.I)


def is_lossy(name: str) -> bool:
    """Whether a name speaks of a loss."""
    return bool(_LOSSY.search(name))


def _makes_loss(node: ast.ClassDef) -> bool:
    forward = next((f for f in node.body if isinstance(f, _FUNCTIONS) and f.name in ("forward", "__call__")), None)
    return forward is not None and (
        is_lossy(node.name) or any(is_lossy(n) or "cross_entropy" in n for n in _called(forward))
    )


def _steppers(outline: Outline) -> frozenset[str]:
    found = set()
    for call in _calls(outline.tree):
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("step", "zero_grad", "unscale_"):
            found |= {last_name(call.func.value), *(last_name(argument) for argument in call.args)}
    return frozenset(found)


def _imports(tree: ast.Module) -> frozenset[str]:
    """The packages that a file imports by name."""
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    return frozenset(name.partition(".")[0] for name in found)


def _numbers(outline: Outline) -> dict[str, int]:
    """Whole numbers that `add_argument` gives as defaults."""
    found = {}
    for call in _calls(outline.tree):
        if last_name(call.func) == "add_argument" and call.args and isinstance(call.args[-1], ast.Constant):
            default = next((w.value for w in call.keywords if w.arg == "default"), None)
            if isinstance(default, ast.Constant) and type(default.value) is int:
                found[str(call.args[-1].value).lstrip("-").replace("-", "_")] = default.value
    return found


def _lossy_names(outline: Outline) -> frozenset[str]:
    """Local names that reach a backward as they are."""
    found = set()
    for call in _calls(outline.tree):
        if last_name(call.func) not in outline.training:
            continue
        sources: list[ast.AST] = list(call.args)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "backward":
            sources.append(call.func.value)
        for source in sources:
            for node in ast.walk(source):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                    found.add(node.id)
    called = {last_name(call.func) for call in _calls(outline.tree)} | {"self"}
    known = re.compile(r"scaler|accelerator|fabric|model|engine|optim|^torch|args|cfg|config|accum|step|amp$", re.I)
    return frozenset(name for name in found if not known.search(name) and name not in called)


def _entries(outline: Outline, wanted: Sequence[int]) -> Iterator[Entry]:
    """The ways in, from the innermost function that holds the first wanted line outwards; then what calls for a
    driver; then the module."""
    order: list[ast.FunctionDef | ast.AsyncFunctionDef] = []
    at_module = False
    for line in wanted[:1]:
        inner = _innermost(outline, line)
        if inner is None:
            at_module = True
        else:
            order.append(inner)
            order += [f for f in outline.around(inner) if isinstance(f, _FUNCTIONS)]
    if not wanted:
        order = [
            f for f in outline.functions if _called(f) & (BACKWARD | STEP) or f.name == "training_step" or _reports(f)
        ]
        at_module = any(
            isinstance(s, _LOOPS) and any(True for _ in _calls(s)) for s in _module_statements(outline.tree)
        )
    if at_module:
        yield Entry("module", "")
    seen = list(order)
    for function in seen:
        for caller in outline.callers(function.name):
            if caller not in seen and len(seen) < 12:
                seen.append(caller)
    if not wanted:
        # a piece that another one runs says nothing by itself
        pieces = {name for f in seen for name in _called(f) - {f.name}}
        seen = [f for f in seen if f.name not in pieces] or seen
    nested = [f for f in seen if outline.function_of(f) is None]
    whole = [f for f in nested if _trains_in_loop(outline, f)]
    lightning = [f for f in nested if f.name == "training_step" and outline.owner(f) is not None]
    # a trainer runs Lightning's steps, and a model's forward gets one batch
    called = [f for f in lightning if _is_lightning(outline, f)] + [f for f in nested if f.name in _PER_BATCH]
    for function in lightning:
        owner = outline.owner(function)
        assert owner is not None
        yield Entry("lightning", function.name, owner.name)
    for function in [*whole, *(f for f in nested if f not in whole)]:
        if function not in called:
            yield _entry(outline, function, driven=False)
    if not at_module:
        yield Entry("module", "")
    for function in nested:
        if (function not in whole and function not in lightning) or function.name in _PER_BATCH:
            yield _entry(outline, function, driven=True)


def _is_lightning(outline: Outline, function: ast.AST) -> bool:
    owner = outline.owner(function)
    return owner is not None and any(last_name(base) == "LightningModule" for base in owner.bases)


def _reports(function: ast.AST) -> bool:
    return any(isinstance(node, _LOOPS) for node in ast.walk(function)) and any(
        is_lossy(name) or name == "criterion" for name in _called(function)
    )


def _module_statements(tree: ast.Module) -> Iterator[ast.stmt]:
    for statement in tree.body:
        yield statement
        if isinstance(statement, ast.If):
            yield from statement.body


def _trains_in_loop(outline: Outline, function: ast.AST) -> bool:
    return any(
        isinstance(node, _LOOPS) and any(_called(s) & (outline.training | outline.stepping) for s in node.body)
        for node in ast.walk(function)
    )


def _entry(outline: Outline, function: ast.FunctionDef | ast.AsyncFunctionDef, *, driven: bool) -> Entry:
    owner = outline.owner(function)
    return Entry("method" if owner is not None else "function", function.name, owner.name if owner else "", driven)


def _innermost(outline: Outline, line: int) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    inside = [f for f in outline.functions if f.lineno <= line <= (f.end_lineno or f.lineno)]
    return max(inside, key=lambda f: f.lineno, default=None)


def _spans(statements: Sequence[ast.stmt], lines: frozenset[int]) -> bool:
    return any(statement.lineno <= line <= (statement.end_lineno or 0) for statement in statements for line in lines)


class _Hooks(ast.NodeTransformer):
    """Puts the hooks in. Children first, so that a hook holds an already instrumented expression."""

    def __init__(self, outline: Outline, wanted: frozenset[int], intervals: _Intervals, lossy: frozenset[str]) -> None:
        self.outline = outline
        self.wanted = wanted
        self.intervals = intervals
        self.lossy = lossy
        self.literal = min(intervals.window_literals) if _one_literal(intervals) else None
        self.places: list[Place] = []

    # ------------------------------------------------------------ making hooks

    def _place(self, node: ast.AST, kind: str, **more: object) -> ast.Constant:
        text = ast.unparse(node) if isinstance(node, ast.expr) else ""
        line, column = getattr(node, "lineno", 0), getattr(node, "col_offset", -1) + 1
        self.places.append(Place(line, column, text[:160], kind, **more))  # type: ignore[arg-type]
        return ast.Constant(len(self.places) - 1)

    def _hook(self, at: ast.AST, name: str, *arguments: ast.expr) -> ast.Call:
        function = ast.Attribute(ast.Name(HOOK, ast.Load()), name, ast.Load())
        return ast.copy_location(ast.Call(function, list(arguments), []), at)

    @staticmethod
    def _later(value: ast.expr) -> ast.expr:
        """The expression unevaluated, where that is possible."""
        for node in ast.walk(value):
            if isinstance(node, (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)):
                return value
            if isinstance(node, ast.Name) and node.id in ("super", "__class__", "locals"):
                return value
        nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
        return ast.copy_location(ast.Lambda(nothing, value), value)

    def _seen(self, value: ast.expr, sink: str) -> ast.expr:
        """A value that a person reads."""
        if isinstance(value, (ast.Tuple, ast.List)) and isinstance(value.ctx, ast.Load):
            value.elts = [self._seen(element, sink) for element in value.elts]
            return value
        if isinstance(value, ast.Dict):
            value.values = [self._seen(element, sink) for element in value.values]
            return value
        if isinstance(value, (ast.JoinedStr, ast.Constant, ast.Starred, ast.Lambda, ast.GeneratorExp)):
            return value
        return self._hook(value, "seen", self._place(value, sink), value)

    # ------------------------------------------------------------ definitions

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.decorator_list = [d for d in node.decorator_list if last_name(d) in _KEPT_DECORATORS]
        node.returns = None
        arguments = [*node.args.posonlyargs, *node.args.args]
        for argument in [*arguments, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]:
            if argument is not None:
                argument.annotation = None
        for argument, place in zip(arguments[::-1], range(len(node.args.defaults))[::-1], strict=False):
            node.args.defaults[place] = self._default(argument.arg, node.args.defaults[place])
        node.args.kw_defaults = [
            self._default(argument.arg, default) if default is not None else None
            for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        ]
        node.body = self._block(node.body)
        return node

    def _default(self, name: str, value: ast.expr) -> ast.expr:
        kind = "window" if name in self.intervals.windows else "log" if name in self.intervals.logs else ""
        number = isinstance(value, ast.Constant) and isinstance(value.value, int) and not isinstance(value.value, bool)
        return self._hook(value, kind, value) if kind and number else self.visit(value)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.decorator_list = [d for d in node.decorator_list if last_name(d) in _KEPT_DECORATORS]
        node.keywords = []
        node.body = self._block(node.body)
        return node

    def module(self, node: ast.Module) -> ast.Module:
        """A whole file."""
        node.body = self._block(
            [s for s in node.body if not (isinstance(s, ast.ImportFrom) and s.module == "__future__")]
        )
        return node

    def _block(self, body: list[ast.stmt]) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        for statement in body:
            visited = self.visit(statement)
            result += visited if isinstance(visited, list) else [visited]
        return result or [ast.Pass()]

    # ------------------------------------------------------------ statements

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, _SIMPLE):
            return self._guarded(node)
        return super().visit(node)

    def _guarded(self, node: ast.stmt) -> ast.stmt:
        """A simple statement that may turn out not to run: then it is skipped, and what it binds becomes a gap."""
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
            targets = [node.target]
        acts = bool(_called(node) & self.outline.acting)
        place = self._place(node, "acts" if acts else "statement")
        inner = self._simple(node)
        handler: list[ast.stmt] = [ast.Expr(self._hook(node, "skip", place, ast.Name("__error__", ast.Load())))]
        for target in targets:
            for name in _bound(target):
                handler.append(ast.Assign([name], self._hook(node, "gap", ast.Constant(last_name(name)))))
        if isinstance(node, ast.Return):
            handler.append(ast.Return(self._hook(node, "gap", ast.Constant("return"))))
        caught = ast.ExceptHandler(ast.Name("Exception", ast.Load()), "__error__", handler)
        caught.type = ast.Attribute(ast.Name(HOOK, ast.Load()), "failure", ast.Load())
        guarded = ast.Try(body=[inner], handlers=[caught], orelse=[], finalbody=[])
        return ast.copy_location(guarded, node)

    def _simple(self, node: ast.stmt) -> ast.stmt:
        original = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
        constant = isinstance(original, ast.Constant) and not isinstance(original.value, int)
        self.generic_visit(node)
        if isinstance(node, ast.Assign):
            if not constant:
                node.value = self._bind(node, node.targets[0], node.value)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            node.value = self._bind(node, node.target, node.value)
        elif isinstance(node, ast.Return) and node.value is not None:
            node.value = self._seen(node.value, "return")
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            self._shown(node.value)
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.copy_location(ast.Name("object", ast.Load()), node)
        return node

    def _bind(self, node: ast.stmt, target: ast.expr, value: ast.expr) -> ast.expr:
        names = _shape(target)
        before = not any(isinstance(n, _LOOPS) and _called(n) & BACKWARD for n in self.outline.around(node))
        kind = "outside" if before else "inside"
        if isinstance(names, tuple):
            return self._hook(value, "unpack", self._place(value, kind, names=names), value)
        return self._hook(value, "bind", self._place(value, kind, names=names), value)

    def _shown(self, call: ast.Call) -> None:
        """The arguments of a call that stands alone: shown, logged or stored."""
        name = last_name(call.func)
        if name in _SINKS or name in self.outline.acting:
            return
        sink = "append" if name in ("append", "extend", "add") else "meter" if name == "update" else "call"
        call.args = [self._seen(argument, sink) for argument in call.args]
        for word in call.keywords:
            word.value = self._seen(word.value, sink)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        return ast.copy_location(ast.Pass(), node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        home = self.outline.function_of(node)
        within = list(self.outline.around(node))
        within = within[: within.index(home)] if home is not None else within
        if node.exc is not None and not any(isinstance(outer, ast.Try) for outer in within):
            # nobody near catches it: what led here was a condition that could not be known
            return ast.copy_location(ast.Expr(self._hook(node, "refused", self._place(node, "raise"))), node)
        self.generic_visit(node)
        if node.exc is not None:
            node.exc = self._hook(node.exc, "raising", node.exc)
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        wanted: bool | None = None
        if _spans(node.body, self.wanted) and not _spans(node.orelse, self.wanted):
            wanted = True
        elif node.orelse and _spans(node.orelse, self.wanted):
            wanted = False
        spans = wanted is not None
        if not spans:
            body = {name for statement in node.body for name in _called(statement)} & self.outline.acting
            other = {name for statement in node.orelse for name in _called(statement)} & self.outline.acting
            if body != other:
                wanted = bool(body) if not (body and other) else None
        if wanted is None and node.orelse and isinstance(node.orelse[-1], ast.Raise):
            # the last of some kinds that are told apart
            wanted = True
        end = node.body[-1]
        quits = isinstance(end, ast.Expr) and bool(_called(end) & {"exit", "quit", "_exit"})
        leaves = wanted is not True and (quits or isinstance(end, (ast.Raise, ast.Return, ast.Continue, ast.Break)))
        loop = next((n for n in self.outline.around(node) if isinstance(n, _LOOPS)), None)
        varies = any(isinstance(n, ast.Call) for n in ast.walk(node.test)) or (
            loop is not None and bool(_stored(loop) & {n.id for n in ast.walk(node.test) if isinstance(n, ast.Name)})
        )
        place = self._place(node.test, "if", wanted=wanted, leaves=leaves, varies=varies, spans=spans)
        test = self.visit(node.test)
        assert isinstance(test, ast.expr)
        node.test = self._hook(node.test, "branch", place, self._later(test))
        node.body = self._block(node.body)
        node.orelse = self._block(node.orelse) if node.orelse else []
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        place = self._place(node.test, "if")
        self.generic_visit(node)
        node.test = self._hook(node.test, "branch", place, self._later(node.test))
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        place = self._place(node.test, "while", **self._kind_of_loop(node))
        test = self.visit(node.test)
        assert isinstance(test, ast.expr)
        node.test = self._hook(node.test, "more", place, self._later(test))
        node.body = self._block(node.body)
        node.orelse = self._block(node.orelse) if node.orelse else []
        return node

    def visit_For(self, node: ast.For) -> ast.AST:
        place = self._place(node.iter, "for", names=_shape(node.target), **self._kind_of_loop(node))
        iterated = self.visit(node.iter)
        assert isinstance(iterated, ast.expr)
        node.iter = self._hook(node.iter, "loop", place, iterated)
        node.body = self._block(node.body)
        node.orelse = self._block(node.orelse) if node.orelse else []
        return node

    def _kind_of_loop(self, node: ast.For | ast.While) -> dict[str, bool]:
        inner = [n for n in ast.walk(node) if n is not node and isinstance(n, _LOOPS)]
        looping = {f.name for f in self.outline.functions if any(isinstance(n, _LOOPS) for n in ast.walk(f))}
        relevant = self.outline.training | {"criterion"}

        def speaks(part: ast.AST) -> bool:
            return any(name in relevant or name in FUNCTIONAL or is_lossy(name) for name in _called(part))

        trains = any(speaks(statement) for statement in node.body)
        through = any(_called(statement) & looping & self.outline.training for statement in node.body)
        return {"trains": trains, "outer": trains and (any(speaks(n) for n in inner) or through)}

    def visit_With(self, node: ast.With) -> ast.AST:
        for item in node.items:
            place = self._place(
                item.context_expr, "with", names=_shape(item.optional_vars) if item.optional_vars else ""
            )
            context = self.visit(item.context_expr)
            assert isinstance(context, ast.expr)
            item.context_expr = self._hook(item.context_expr, "context", place, self._later(context))
        node.body = self._block(node.body)
        return node

    def visit_Try(self, node: ast.Try) -> ast.AST:
        node.body = self._block(node.body)
        for handler in node.handlers:
            if handler.type is not None:
                handler.type = self._hook(handler.type, "caught", self._later(handler.type))
            handler.body = self._block(handler.body)
        node.orelse = self._block(node.orelse) if node.orelse else []
        node.finalbody = self._block(node.finalbody) if node.finalbody else []
        return node

    # ------------------------------------------------------------ expressions

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.AST:
        self.generic_visit(node)
        node.value = self._seen(node.value, "format")
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        template = isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)
        self.generic_visit(node)
        if template and isinstance(node.op, ast.Mod):
            node.right = self._seen(node.right, "format")
        elif isinstance(node.op, (ast.Mod, ast.Div, ast.Mult, ast.FloorDiv)):
            node.right = self._interval(node.right)
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """`i % 4 == 3` is the last of a window of 4, whatever the window."""
        self.generic_visit(node)
        side, literal = node.comparators[0], self.literal
        last = isinstance(side, ast.Constant) and literal is not None and side.value == literal - 1
        if last and isinstance(node.left, ast.BinOp) and isinstance(node.left.op, ast.Mod):
            window = self._hook(side, "window", ast.Constant(literal))
            node.comparators[0] = ast.copy_location(ast.BinOp(window, ast.Sub(), ast.Constant(1)), side)
        return node

    def _interval(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value in self.intervals.log_literals:
            return self._hook(node, "log", node)
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value == self.literal:
            return self._hook(node, "window", node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        formats = isinstance(node.func, ast.Attribute) and node.func.attr == "format"
        for word in node.keywords:
            number = isinstance(word.value, ast.Constant) and type(word.value.value) is int
            if word.arg in self.intervals.windows and number and len(self.intervals.windows) > 0:
                word.value = self._hook(word.value, "window", word.value)
        self.generic_visit(node)
        if formats:
            node.args = [self._seen(argument, "format") for argument in node.args]
            for word in node.keywords:
                word.value = self._seen(word.value, "format")
        if last_name(node.func) == "range" and node.args and self.literal is not None:
            node.args = [self._interval(argument) for argument in node.args]
        if isinstance(node.func, ast.Name) and node.func.id in ("tuple", "list") and len(node.args) == 1:
            return self._hook(node, "sequence", node.func, node.args[0])
        return node

    def visit_ListComp(self, node: ast.ListComp) -> ast.AST:
        return self._comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> ast.AST:
        return self._comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.AST:
        return self._comprehension(node)

    def _comprehension(self, node: ast.ListComp | ast.DictComp | ast.GeneratorExp) -> ast.expr:
        self.generic_visit(node)
        first = node.generators[0].iter
        if len(node.generators) != 1 or self._later(node) is node:
            return node
        return self._hook(node, "comprehension", self._later(first), self._later(node))

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        self.generic_visit(node)
        return node


def _one_literal(intervals: _Intervals) -> bool:
    return len(intervals.window_literals) == 1 and not intervals.windows


def _stored(loop: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(loop) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _bound(target: ast.expr) -> Iterator[ast.expr]:
    """The names and attributes that an assignment binds, to be bound again."""
    if isinstance(target, (ast.Tuple, ast.List)):
        for element in target.elts:
            yield from _bound(element)
    elif isinstance(target, ast.Starred):
        yield from _bound(target.value)
    elif isinstance(target, ast.Name):
        yield ast.Name(target.id, ast.Store())
    elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
        yield ast.Attribute(ast.Name(target.value.id, ast.Load()), target.attr, ast.Store())


def _shape(target: ast.expr) -> Names:
    if isinstance(target, (ast.Tuple, ast.List)):
        return tuple(_shape(element) for element in target.elts)
    if isinstance(target, ast.Starred):
        return "*" + last_name(target.value)
    return last_name(target)
