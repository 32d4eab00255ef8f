"""The user's own statements that show a bug, cut out of their file for a script of its own.

Torch-free. What is kept are whole lines of the file: the entry and what it calls in the same file, and in them the
statements that touch gradients, that make or show the figure in question, and what those need.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from contextlib import suppress

from losslint.runtime.entries import Entry
from losslint.runtime.ledger import Excerpt
from losslint.runtime.outline import BACKWARD, Outline, is_lossy, last_name
from losslint.runtime.slicing import Program

_SCALER = re.compile(r"scaler", re.I)
_ROLES = (
    ("scaler", _SCALER),
    ("optimizer", re.compile(r"optim|^opt$|_opt$|^sgd$|^adam", re.I)),
    ("loader", re.compile(r"loader|batches$|_dl$|^dl$|iterator$|^data$|windows$", re.I)),
    ("criterion", re.compile(r"criteri|loss_?f(n|unc|ct)?$|Loss$|_loss$", re.I)),
    ("model", re.compile(r"model|^net|net$|encoder|decoder|backbone|module$|^head$", re.I)),
)
_ATTRIBUTE = re.compile(r"self\.(\w+)")
_NEVER = frozenset({"self", "cls"})


def excerpt(program: Program, entry: Entry, lines: tuple[int, ...], window: int) -> Excerpt | None:
    """The statements of an entry that its finding on `lines` needs, and what has to be put in for the names that they
    leave open. `window` is the number for the accumulation window. None where what is left does not parse."""
    tree = ast.parse(program.text)
    outline = Outline(tree)
    homes = _homes(outline, tree, entry)
    keep = _Kept(outline, program.text, frozenset(lines))
    for home in homes:
        keep.function(home)
    for home in homes:
        if getattr(home, "name", "") == "__init__":
            keep.attributes(home)
    source = keep.source(homes, entry)
    try:
        ast.parse(source)
    except SyntaxError:
        return None
    bound = _bound_names(tree, source)
    open_names = sorted(name for name in _free_names(source) if name not in bound and name not in _NEVER)
    call, arguments = _call(outline, entry, homes)
    stubs = {name: _role(name, program) for name in dict.fromkeys([*open_names, *arguments])}
    values = {name: float(window if name in program.windows else 2) for name, role in stubs.items() if role == "number"}
    return Excerpt(source, call, stubs, values, tuple(_imports(tree, source)))


def _homes(
    outline: Outline, tree: ast.Module, entry: Entry
) -> list[ast.FunctionDef | ast.AsyncFunctionDef | ast.Module]:
    """The entry, and the functions of the file that it reaches and that matter."""
    if entry.kind == "module":
        first: list[ast.FunctionDef | ast.AsyncFunctionDef | ast.Module] = [tree]
        names = {last_name(call.func) for call in ast.walk(tree) if isinstance(call, ast.Call)}
    else:
        found = [f for f in outline.functions if f.name == entry.name and _owner_name(outline, f) == entry.owner]
        first = list(found[:1])
        names = set().union(*(_called(f) for f in found[:1]))
    result = list(first)
    known = {entry.name}
    while True:
        more = [
            f
            for f in outline.functions
            if f.name in names - known and (f.name in outline.acting or is_lossy(f.name) or _returns_loss(f))
        ]
        if not more:
            break
        known |= {f.name for f in more}
        result += more
        names = set().union(*(_called(f) for f in more))
    for name in _family(outline, entry.owner):
        made = [f for f in outline.classes[name].body if isinstance(f, ast.FunctionDef) and f.name == "__init__"]
        result += [f for f in made if f not in result]
    return result


def _family(outline: Outline, owner: str) -> list[str]:
    """A class and those of the file that derive from it, the most derived last."""
    found = [owner] if owner in outline.classes else []
    for name, node in outline.classes.items():
        if name not in found and any(last_name(base) in found for base in node.bases):
            found.append(name)
    return found


def _owner_name(outline: Outline, function: ast.AST) -> str:
    owner = outline.owner(function)
    return owner.name if owner is not None else ""


def _called(node: ast.AST) -> set[str]:
    return {last_name(inner.func) for inner in ast.walk(node) if isinstance(inner, ast.Call)}


def _returns_loss(function: ast.AST) -> bool:
    return any(is_lossy(name) or name in ("criterion", "cross_entropy") for name in _called(function))


class _Kept:
    """The lines of a file that are kept."""

    def __init__(self, outline: Outline, text: str, wanted: frozenset[int]) -> None:
        self.outline = outline
        self.text = text.splitlines()
        self.wanted = wanted
        self.lines: set[int] = set()

    def function(self, home: ast.FunctionDef | ast.AsyncFunctionDef | ast.Module) -> None:
        """Chooses the statements of one home: what acts, and backwards from there what it needs."""
        simple = list(_simple(home))
        needed: set[str] = set()
        chosen: set[ast.stmt] = set()
        for statement in simple:
            acts = bool(_called(statement) & self.outline.acting) or _steers_scaler(statement)
            shown = any(statement.lineno <= line <= (statement.end_lineno or 0) for line in self.wanted)
            leaves = isinstance(statement, (ast.Return, ast.Continue, ast.Break))
            if acts or shown or leaves or _reads_loss(statement):
                chosen.add(statement)
                needed |= _names(statement)
        changed = True
        while changed:
            changed = False
            for statement in list(chosen):
                for outer in self.outline.around(statement):
                    if outer is home:
                        break
                    for header in _headers(outer):
                        more = _names(header) - needed
                        changed |= bool(more)
                        needed |= more
            for statement in simple:
                if statement not in chosen and _binds(statement) & needed and not isinstance(statement, ast.Expr):
                    chosen.add(statement)
                    needed |= _names(statement)
                    changed = True
        for statement in chosen:
            self._keep(statement, home)

    def attributes(self, made: ast.AST) -> None:
        """Keeps of an `__init__` what sets attributes that the kept lines read, and what hands arguments on."""
        read = set(_ATTRIBUTE.findall("\n".join(self.text[n - 1] for n in self.lines if n <= len(self.text))))
        names: set[str] = set()
        for statement in reversed(list(_simple(made))):
            attributes = {name[5:] for name in _binds(statement) if name.startswith("self.")}
            if attributes & read or _binds(statement) & names or "super" in _called(statement):
                names |= _names(statement)
                self._keep(statement, made)

    def _keep(self, statement: ast.stmt, home: ast.AST) -> None:
        self.lines |= set(range(statement.lineno, (statement.end_lineno or statement.lineno) + 1))
        for outer in self.outline.around(statement):
            if outer is home:
                break
            if isinstance(outer, ast.stmt):
                body = getattr(outer, "body", None)
                if body:
                    self.lines |= set(range(outer.lineno, body[0].lineno)) or {outer.lineno}
                self.lines |= {handler.lineno for handler in getattr(outer, "handlers", ())}
                orelse = getattr(outer, "orelse", None)
                if orelse and orelse[0].lineno <= statement.lineno:
                    self.lines |= set(range(body[-1].end_lineno + 1, orelse[0].lineno)) if body else set()

    def source(self, homes: list[ast.FunctionDef | ast.AsyncFunctionDef | ast.Module], entry: Entry) -> str:
        """The kept lines in the order of the file, classes and functions with their heads."""
        lines = set(self.lines)
        for home in homes:
            if isinstance(home, ast.Module):
                continue
            inside = [n for n in self.lines if home.lineno < n <= (home.end_lineno or 0)]
            head = range(home.lineno, home.body[0].lineno)
            if inside:
                lines |= set(head)
            owner = self.outline.owner(home)
            if owner is not None and inside:
                lines |= set(range(owner.lineno, owner.body[0].lineno)) - _docstring(owner)
        kept = [n for n in sorted(lines) if 0 < n <= len(self.text) and self.text[n - 1].strip()]
        return _filled("\n".join(self.text[n - 1] for n in kept))


def _docstring(node: ast.ClassDef) -> set[int]:
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return set()


def _filled(source: str) -> str:
    """Bodies of which nothing was kept get a `pass`."""
    lines = source.splitlines()
    heads = set(_heads(source))
    result: list[str] = []
    for place, line in enumerate(lines):
        result.append(line)
        if place + 1 not in heads:
            continue
        indents = (
            len(lines[n]) - len(lines[n].lstrip()) for n in range(place, -1, -1) if _OPENS.match(lines[n].lstrip())
        )
        indent = next(indents, 0)
        following = lines[place + 1] if place + 1 < len(lines) else ""
        if len(following) - len(following.lstrip()) <= indent or not following.strip():
            result.append(" " * (indent + 4) + "pass")
    return "\n".join(result)


_OPENS = re.compile(r"(async |def |class |if |elif |else\b|for |while |with |try\b|except\b|finally\b|match |case )")


def _heads(source: str) -> Iterator[int]:
    """The lines that end the head of a compound statement."""
    last = ""
    with suppress(tokenize.TokenError, IndentationError):
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.NEWLINE and last == ":":
                yield token.start[0]
            if token.type not in (tokenize.COMMENT, tokenize.NL):
                last = token.string


def _simple(home: ast.AST) -> Iterator[ast.stmt]:
    for field in ("body", "orelse", "finalbody"):
        for statement in getattr(home, field, []):
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
                continue
            if hasattr(statement, "body"):
                yield from _simple(statement)
            elif not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
                yield statement
    for handler in getattr(home, "handlers", []):
        yield from _simple(handler)


def _headers(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, (ast.For, ast.AsyncFor)):
        yield node.iter
    elif isinstance(node, (ast.While, ast.If)):
        yield node.test
    elif isinstance(node, ast.With):
        yield from (item.context_expr for item in node.items)


def _names(node: ast.AST) -> set[str]:
    """The names and the attributes of `self` that a piece of code reads."""
    found = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    found |= {
        f"self.{n.attr}"
        for n in ast.walk(node)
        if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == "self"
    }
    if isinstance(node, ast.AugAssign):
        found |= _binds(node)
    return found


def _binds(statement: ast.stmt) -> set[str]:
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, (ast.AugAssign, ast.AnnAssign)):
        targets = [statement.target]
    found = set()
    for target in targets:
        for node in ast.walk(target):
            if isinstance(node, ast.Name) and node.id != "self":
                found.add(node.id)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
                found.add(f"self.{node.attr}")
    return found


def _steers_scaler(statement: ast.stmt) -> bool:
    """Whether a statement is a call of a scaler's own, which touches gradients only by what comes later."""
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("unscale_", "update")
        and _SCALER.search(last_name(node.func.value))
        for node in ast.walk(statement)
    )


def _reads_loss(statement: ast.stmt) -> bool:
    """Whether a statement makes a loss out of something."""
    if isinstance(statement, (ast.Assign, ast.AugAssign)):
        return any(is_lossy(name) for name in _binds(statement))
    return bool(_called(statement) & BACKWARD)


def _free_names(source: str) -> set[str]:
    """Names that a source reads and nowhere binds."""
    tree = ast.parse(source)
    bound = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    bound |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    bound |= {n.name for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef))}
    read = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    return read - bound


def _bound_names(tree: ast.Module, source: str) -> set[str]:
    import builtins

    imported = {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom)) and _is_torch(node)
        for alias in node.names
    }
    return imported | set(dir(builtins))


def _is_torch(node: ast.Import | ast.ImportFrom) -> bool:
    names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    return all(name.split(".")[0] in ("torch", "math", "contextlib", "itertools") for name in names)


def _imports(tree: ast.Module, source: str) -> Iterator[str]:
    """The imports of torch and of the standard library that the source uses."""
    used = {n.id for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Name)}
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Import, ast.ImportFrom)) or not _is_torch(node):
            continue
        if any((alias.asname or alias.name).split(".")[0] in used for alias in node.names):
            yield ast.unparse(node)


def _call(
    outline: Outline, entry: Entry, homes: list[ast.FunctionDef | ast.AsyncFunctionDef | ast.Module]
) -> tuple[str, list[str]]:
    """The call that starts the excerpt, and the names in it."""
    if entry.kind == "module" or not homes or isinstance(homes[0], ast.Module):
        return "", []
    own = _parameters(homes[0], skip=bool(entry.owner))
    if not entry.owner:
        return f"{entry.name}({', '.join(own)})", own
    made = [f for f in homes if isinstance(f, ast.FunctionDef) and f.name == "__init__"]
    first = _parameters(made[-1], skip=True) if made else []
    owner = _family(outline, entry.owner)[-1]
    return f"{owner}({', '.join(first)}).{entry.name}({', '.join(own)})", [*first, *own]


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef, *, skip: bool) -> list[str]:
    arguments = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    return arguments[1:] if skip and arguments and arguments[0] in ("self", "cls") else arguments


def _role(name: str, program: Program) -> str:
    if name in program.windows or name in program.logs or re.search(r"epochs?$|steps$|every$|^n_|^num_", name):
        return "number"
    return next((role for role, pattern in _ROLES if pattern.search(name)), "anything")
