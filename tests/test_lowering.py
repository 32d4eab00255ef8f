from __future__ import annotations

import dataclasses
import gc
import sysconfig
import time
from pathlib import Path
from typing import Any

import libcst
import pytest

from losslint.lowering import ir
from losslint.lowering.lower import lower


def module_of(source: str) -> ir.Module:
    return lower(libcst.parse_module(source), "train.py")


def shown(node: Any) -> str:
    """A node as its type and fields, libcst nodes and facts left out."""
    if isinstance(node, tuple):
        return f"({' '.join(map(shown, node))})"
    if not dataclasses.is_dataclass(node):
        return repr(node)
    fields = [shown(getattr(node, f.name)) for f in dataclasses.fields(node) if f.name not in ("cst", "facts")]
    return f"{type(node).__name__}[{' '.join(fields)}]"


def expression(source: str) -> Any:
    (statement,) = module_of(f"({source}\n)").body
    assert isinstance(statement, ir.Evaluate)
    return statement.value


def value(source: str) -> Any:
    (statement,) = module_of(f"x = {source}").body
    assert isinstance(statement, ir.Assign)
    return statement.value


@pytest.mark.parametrize(
    "literal",
    [
        "1_000", "0x10", "0b11", "0o17", "1e-3", "1_0.5_0", ".5", "3j", "True", "None", "...",
        "'a'", '"""a"b"""', "''", '""""""', r"'\n\x41\101\u00e9\N{BULLET}\\\'\q'", r"r'\n'", r"R'\''",
        "'a' \"b\" r'\\c'", "'a\\\nb'", "'''a\nb'''",
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning")
def test_literals_are_worth_what_python_says(literal: str) -> None:
    lowered = value(literal)
    assert isinstance(lowered, ir.Const)
    expected = eval(literal)
    assert lowered.value == expected
    assert type(lowered.value) is type(expected)
    assert lowered.slot is None


def test_bytes_and_line_ends_in_strings() -> None:
    assert value(r"b'a\x41'").value == "aA"
    assert value("'''a\r\nb'''").value == "a\nb"
    assert isinstance(value("1" * 5000), ir.Opaque)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("(((a)))", "Name['a']"),
        ("await f(b)", "Call[Name['f'] (Argument[Name['b'] None ''])]"),
        ("a - b - c", "Binary['-' Binary['-' Name['a'] Name['b']] Name['c']]"),
        ("a and b and (c and d) or e",
         "Logic['or' (Logic['and' (Name['a'] Name['b'] Name['c'] Name['d'])] Name['e'])]"),
        ("a < b is not c", "Compare[Name['a'] ('<' 'is not') (Name['b'] Name['c'])]"),
        ("a not in b", "Compare[Name['a'] ('not in') (Name['b'])]"),
        ("not -a", "Unary['not' Unary['-' Name['a']]]"),
        ("a if b else c", "Choice[Name['b'] Name['a'] Name['c']]"),
        ("a.b[c]", "Index[Attr[Name['a'] 'b'] Name['c']]"),
        ("a[b,]", "Index[Name['a'] Collection['tuple' (Name['b'])]]"),
        ("a[b:, ::c]", "Index[Name['a'] Collection['tuple' (Slice[Name['b'] None None] Slice[None None Name['c']])]]"),
        ("f(a, *b, c=d, **e)", "Call[Name['f'] (Argument[Name['a'] None ''] Argument[Name['b'] None '*'] "
         "Argument[Name['d'] 'c' ''] Argument[Name['e'] None '**'])]"),
        ("[a, *b]", "Collection['list' (Name['a'] Starred[Name['b']])]"),
        ("{a, b}", "Collection['set' (Name['a'] Name['b'])]"),
        ("{a: b, **c}", "Mapping[((Name['a'] Name['b']) (None Name['c']))]"),
        ("f'{a:{b}} {{c}}' 'd' f'{e!r}'", "Format[(Name['a'] Name['b'] Name['e']) ' {c}d']"),
        ("[a for b in c if d for e in f]", "Comprehension['list' None Name['a'] "
         "(Generator[Name['b'] Name['c'] (Name['d'])] Generator[Name['e'] Name['f'] ()])]"),
        ("{a: b for c in d}", "Comprehension['dict' Name['a'] Name['b'] (Generator[Name['c'] Name['d'] ()])]"),
        ("(a for a in b)", "Comprehension['generator' None Name['a'] (Generator[Name['a'] Name['b'] ()])]"),
        ("(a := b)", "Walrus[Name['a'] Name['b']]"),
        ("lambda a, *b, c=d, **e: a", "Lambda[Function['<lambda>' (Parameter['a' None 'positional' None] "
         "Parameter['b' None '*' None] Parameter['c' Name['d'] 'keyword' None] Parameter['e' None '**' None]) "
         "(Return[Name['a']]) () False None]]"),
    ],
)  # fmt: skip
def test_expressions(source: str, expected: str) -> None:
    assert shown(expression(source)) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("'''doc'''\npass\n...\n1", "()"),
        ("a = b = c; del d, e.f", "(Assign[(Name['a'] Name['b']) Name['c']] Delete[(Name['d'] Attr[Name['e'] 'f'])])"),
        ("a: b = c\nd: e", "(Assign[(Name['a']) Name['c']] Declare[Name['d'] Name['e']])"),
        ("a, *b = c", "(Assign[(Collection['tuple' (Name['a'] Starred[Name['b']])]) Name['c']])"),
        ("a.b //= c", "(Augment['//' Attr[Name['a'] 'b'] Name['c']])"),
        ("if a: b; c\nelif d: e\nelse: f", "(If[Name['a'] (Evaluate[Name['b']] Evaluate[Name['c']]) "
         "(If[Name['d'] (Evaluate[Name['e']]) (Evaluate[Name['f']])])])"),
        ("while a: break\nelse: b", "(While[Name['a'] (Break[]) (Evaluate[Name['b']])])"),
        ("with a as b, c: d", "(With[(WithItem[Name['a'] Name['b']] WithItem[Name['c'] None]) (Evaluate[Name['d']])])"),
        ("try: a\nexcept b as c: d\nelse: e\nfinally: f", "(Try[(Evaluate[Name['a']]) ((Assign[(Name['c']) "
         "Opaque[(Name['b'])]] Evaluate[Name['d']])) (Evaluate[Name['e']]) (Evaluate[Name['f']])])"),
        ("try: a\nexcept* b: c", "(Try[(Evaluate[Name['a']]) ((Evaluate[Name['c']])) () ()])"),
        ("match a:\n  case 'x': b\n  case [c, *d, {'k': e, **f}, G(h, i=j)] as l if m: n\n  case None | _: pass",
         "(Match[Name['a'] (Case[() Const['x' None] None (Evaluate[Name['b']])] "
         "Case[('c' 'd' 'e' 'f' 'h' 'j' 'l') None Name['m'] (Evaluate[Name['n']])] Case[() None None ()])])"),
        ("import a.b, c.d as e, f", "(Import[(('a.b' 'a' False) ('c.d' 'e' True) ('f' 'f' True))])"),
        ("from ..a.b import c, d as e\nfrom . import *", "(ImportFrom['a.b' 2 (('c' 'c') ('d' 'e'))] "
         "ImportFrom['' 1 (('*' '*'))])"),
        ("assert a, b\nraise c from d\nglobal e", "(Assert[Name['a']] Raise[Name['c']] Scope['global' ('e')])"),
        ("async def f():\n  async for a in b:\n    async with c: await d",
         "(Function['f' () (For[Name['a'] Name['b'] (With[(WithItem[Name['c'] None]) (Evaluate[Name['d']])]) ()]) "
         "() False None])"),
        ("@a.b\ndef f[T](c: d, /) -> e: yield", "(Function['f' (Parameter['c' None 'positional' Name['d']]) "
         "(Evaluate[Yield[None]]) (Attr[Name['a'] 'b']) True None])"),
        ("class A(B, metaclass=C):\n  def f(self):\n    def g(): pass",
         "(Class['A' (Name['B']) (Function['f' (Parameter['self' None 'positional' None]) "
         "(Function['g' () () () False None]) () False 'A']) ()])"),
        ("type A = B", "(Assign[(Name['A']) Opaque[(Name['B'])]])"),
    ],
)  # fmt: skip
def test_statements(source: str, expected: str) -> None:
    assert shown(module_of(source).body) == expected


def facts(source: str) -> tuple[set[str], set[str], set[str], set[str]]:
    (statement,) = module_of(source).body
    found = statement.facts  # type: ignore[union-attr]
    return set(found.calls), set(found.assigned), set(found.read), set(found.jumps)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("if a: loss.backward()", ({"backward"}, set(), {"a", "loss"}, set())),
        ("if a: f(b.c)(d)", ({"f"}, set(), {"a", "b", "c", "d"}, set())),
        ("if a: self.total += x", (set(), {"total"}, {"a", "self", "x"}, set())),
        ("if a: b.c[d][e] = 1", (set(), {"c"}, {"a", "b", "c", "d", "e"}, set())),
        ("if a:\n  def f(x: y) -> z: return g(h)", ({"g"}, {"f"}, {"a", "h"}, set())),
        ("for a in b: break", (set(), {"a"}, {"b"}, set())),
        ("for a in b:\n  for c in d: continue\n  else: break\n  return e", (set(), {"a", "c"}, set("bde"), {"return"})),
        ("if a:\n  while b:\n    if c: break\n  raise d", (set(), set(), set("abcd"), {"raise"})),
        ("while a:\n  try: continue\n  finally: return", (set(), set(), {"a"}, {"return"})),
        ("with a as b: [c for c in d]", (set(), {"b", "c"}, {"a", "c", "d"}, set())),
        ("def f():\n  if a: return\n  def g(): raise b", (set(), {"g"}, {"a", "b"}, {"return"})),
    ],
)
def test_facts(source: str, expected: tuple[set[str], set[str], set[str], set[str]]) -> None:
    assert facts(source) == expected


def test_facts_of_each_branch_are_its_own() -> None:
    (loop,) = module_of("for x in y:\n  if a: break\n  elif b: continue\n  else: return\n").body
    assert isinstance(loop, ir.For)
    (first,) = loop.body
    assert isinstance(first, ir.If)
    (second,) = first.orelse
    assert isinstance(second, ir.If)
    assert first.facts.jumps == {"break", "continue", "return"}
    assert second.facts.jumps == {"continue", "return"}
    assert second.facts.read == {"b"}
    assert loop.facts.jumps == {"return"}


SLOTTED = """
x = a / 8
class A:
    def f(self):
        y = 8 * a
        b //= 4
        if n >= 4: pass
        if 4 == self.n: pass
        if len(n) == 4: pass
        for i in range(4): z = (lambda: i % 4)
        return a + 4, a / 1, a / 2.0, a / True, b ** 4
    def g(self): return a % 8
"""


def constants(node: Any) -> list[ir.Const]:
    if isinstance(node, tuple):
        return [found for part in node for found in constants(part)]
    if isinstance(node, ir.Const):
        return [node]
    if not dataclasses.is_dataclass(node):
        return []
    return [found for f in dataclasses.fields(node) if f.name != "cst" for found in constants(getattr(node, f.name))]


def test_slots_join_equal_literals_of_one_function() -> None:
    found = [(const.value, const.slot) for const in constants(module_of(SLOTTED).body)]
    assert found == [
        (8, (0, 8)),
        (8, (1, 8)),
        (4, (1, 4)),
        (4, (1, 4)),
        (4, (1, 4)),
        (4, None),
        (4, (1, 4)),
        (4, (1, 4)),
        (4, None),
        (1, None),
        (2.0, None),
        (True, None),
        (4, None),
        (8, (2, 8)),
    ]


@pytest.mark.parametrize("source", ["i % 2000 == 1999", "i % 2000 >= 1999", "1999 == i % 2000", "(i % 2000) != 1999"])
def test_the_last_of_a_window_follows_the_window(source: str) -> None:
    assert "Binary['-' Const[2000 (0 2000)] Const[1 None]]" in shown(expression(source))


@pytest.mark.parametrize("source", ["i % 2000 == 1998", "i % n == 1999", "i == 1999", "i % 2000 > 1999"])
def test_other_literals_are_kept(source: str) -> None:
    assert "Binary['-'" not in shown(expression(source))


def test_functions_classes_and_imports_are_collected_wherever_they_are() -> None:
    module = module_of(
        "if a:\n  import b\nclass C:\n  class D:\n    def f(self):\n      from g import h\n      def i(): pass\n"
    )
    assert [(function.name, function.outer) for function in module.functions] == [("f", "D"), ("i", None)]
    assert [found.name for found in module.classes] == ["C", "D"]
    assert [type(found) for found in module.imports] == [ir.Import, ir.ImportFrom]
    assert module.path == "train.py"


def test_long_chains_fit_on_the_stack() -> None:
    module = module_of("x = a" + " + a" * 3000 + "\n")
    depth, node = 0, module.body[0].value  # type: ignore[union-attr]
    while isinstance(node, ir.Binary):
        depth, node = depth + 1, node.left
    assert depth == 3000
    branches = "if a: b\n" + "".join(f"elif a == {i}: b\n" for i in range(1500))
    assert len(module_of(branches + "c = 1\n").body) == 2


def test_what_is_nested_too_deeply_is_opaque_and_the_rest_stays() -> None:
    tree = libcst.parse_module("def f():\n    x = a\n    return b\n")
    deep: libcst.BaseExpression = libcst.Name("a")
    for _ in range(5000):
        deep = libcst.UnaryOperation(libcst.Minus(), deep)
    function = libcst.ensure_type(tree.body[0], libcst.FunctionDef)
    line = libcst.ensure_type(function.body.body[0], libcst.SimpleStatementLine)
    assign = libcst.ensure_type(line.body[0], libcst.Assign)
    object.__setattr__(assign, "value", deep)
    module = lower(tree, "train.py")
    (lowered,) = module.functions
    assert [type(statement).__name__ for statement in lowered.body] == ["Evaluate", "Return"]
    assert isinstance(lowered.body[0].value, ir.Opaque)  # type: ignore[union-attr]
    assert lowered.facts.jumps == {"return"}


def test_the_standard_library_lowers_in_a_fraction_of_the_parse() -> None:
    parsing = lowering = 0.0
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:60]
    gc.disable()
    try:
        for path in files:
            data = path.read_bytes()
            start = time.perf_counter()
            try:
                tree = libcst.parse_module(data)
            except libcst.ParserSyntaxError:
                continue
            middle = time.perf_counter()
            lower(tree, path.name)
            parsing += middle - start
            lowering += time.perf_counter() - middle
    finally:
        gc.enable()
    assert len(files) > 40
    assert lowering < parsing / 2
