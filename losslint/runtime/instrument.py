"""The hooks in the statements of a file, at each place where the tiny world decides.

Torch-free. The statements themselves are left as they are: a condition is asked through `branch`, a loop draws through
`loop`, what is shown passes through `seen`, and a simple statement that cannot be run for want of a real object is
skipped and noted, and what it would have bound becomes a gap.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from losslint.contracts.torch import FUNCTIONAL
from losslint.runtime.intervals import Intervals
from losslint.runtime.outline import BACKWARD, LOOPS, SIMPLE, SINKS, Outline, bound_by, called_in, is_lossy, last_name

HOOK = "__world__"
"""The name under which the instrumented code finds the world."""
_KEPT_DECORATORS = frozenset(
    "staticmethod classmethod property contextmanager no_grad inference_mode enable_grad dataclass setter"
    " cached_property lru_cache cache wraps abstractmethod".split()
)
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


def _spans(statements: Sequence[ast.stmt], lines: frozenset[int]) -> bool:
    return any(statement.lineno <= line <= (statement.end_lineno or 0) for statement in statements for line in lines)


class Instrumenter(ast.NodeTransformer):
    """Puts the hooks in. Children first, so that a hook holds an already instrumented expression."""

    def __init__(self, outline: Outline, wanted: frozenset[int], intervals: Intervals, lossy: frozenset[str]) -> None:
        self.outline = outline
        self.wanted = wanted
        self.intervals = intervals
        self.lossy = lossy
        self.literal = min(intervals.window_literals) if _one_literal(intervals) else None
        self.places: list[Place] = []
        self.checked: set[int] = set()

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
        if isinstance(node, SIMPLE):
            inside = [line for line in self.wanted if node.lineno <= line <= (node.end_lineno or node.lineno)]
            self.checked |= set(inside)
            passed = [ast.Expr(self._hook(node, "passed", ast.Constant(line))) for line in sorted(inside)]
            return [*(ast.copy_location(one, node) for one in passed), self._guarded(node)]
        return super().visit(node)

    def _guarded(self, node: ast.stmt) -> ast.stmt:
        """A simple statement that may turn out not to run: then it is skipped, and what it binds becomes a gap."""
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
            targets = [node.target]
        acts = bool(called_in(node) & self.outline.acting)
        place = self._place(node, "acts" if acts else "statement")
        inner = self._simple(node)
        handler: list[ast.stmt] = [ast.Expr(self._hook(node, "skip", place, ast.Name("__error__", ast.Load())))]
        for target in targets:
            for name in bound_by(target):
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
            if _keeps(node):
                node.value = self._seen(node.value, "append")
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
        before = not any(isinstance(n, LOOPS) and called_in(n) & BACKWARD for n in self.outline.around(node))
        kind = "outside" if before else "inside"
        if isinstance(names, tuple):
            return self._hook(value, "unpack", self._place(value, kind, names=names), value)
        return self._hook(value, "bind", self._place(value, kind, names=names), value)

    def _shown(self, call: ast.Call) -> None:
        """The arguments of a call that stands alone: shown, logged or stored."""
        name = last_name(call.func)
        if name in SINKS or name in self.outline.acting:
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
            body = {name for statement in node.body for name in called_in(statement)} & self.outline.acting
            other = {name for statement in node.orelse for name in called_in(statement)} & self.outline.acting
            if body != other:
                wanted = bool(body) if not (body and other) else None
        if wanted is None and node.orelse and isinstance(node.orelse[-1], ast.Raise):
            # the last of some kinds that are told apart
            wanted = True
        end = node.body[-1]
        if wanted is None and not node.orelse and isinstance(end, ast.Return) and end.value and self._ends(node):
            # or else the function would give nothing
            wanted = True
        if wanted is None and not node.orelse and self._is_alternative(node):
            # or else what the others bind would be bound by none
            wanted = True
        quits = isinstance(end, ast.Expr) and bool(called_in(end) & {"exit", "quit", "_exit"})
        leaves = wanted is not True and (quits or isinstance(end, (ast.Raise, ast.Return, ast.Continue, ast.Break)))
        loop = next((n for n in self.outline.around(node) if isinstance(n, LOOPS)), None)
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

    def _ends(self, node: ast.stmt) -> bool:
        """Whether a function is over after a statement."""
        parent = self.outline.parents.get(node)
        if isinstance(parent, ast.If):
            return bool(parent.orelse) and parent.orelse[-1] is node and self._ends(parent)
        return isinstance(parent, (ast.FunctionDef, ast.AsyncFunctionDef)) and parent.body[-1] is node

    def _is_alternative(self, node: ast.If) -> bool:
        """Whether a condition is the last of several under which the same name is bound."""
        parent = self.outline.parents.get(node)
        if not isinstance(parent, ast.If) or parent.orelse != [node]:
            return False
        here, there = ({name for one in body for name in _stored(one)} for body in (node.body, parent.body))
        return bool(here & there)

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
        inner = [n for n in ast.walk(node) if n is not node and isinstance(n, LOOPS)]
        looping = {f.name for f in self.outline.functions if any(isinstance(n, LOOPS) for n in ast.walk(f))}
        relevant = self.outline.training | {"criterion"}

        def speaks(part: ast.AST) -> bool:
            return any(name in relevant or name in FUNCTIONAL or is_lossy(name) for name in called_in(part))

        trains = any(speaks(statement) for statement in node.body)
        through = any(called_in(statement) & looping & self.outline.training for statement in node.body)
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


def _keeps(node: ast.Assign) -> bool:
    """Whether an assignment keeps figures under their names: `results = {"loss": …}`, `results["loss"] = …`."""
    target = node.targets[0]
    named = isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant)
    return isinstance(node.value, ast.Dict) or (named and isinstance(target.slice.value, str))  # type: ignore[attr-defined]


def _one_literal(intervals: Intervals) -> bool:
    return len(intervals.window_literals) == 1 and not intervals.windows


def _stored(loop: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(loop) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _shape(target: ast.expr) -> Names:
    if isinstance(target, (ast.Tuple, ast.List)):
        return tuple(_shape(element) for element in target.elts)
    if isinstance(target, ast.Starred):
        return "*" + last_name(target.value)
    return last_name(target)
