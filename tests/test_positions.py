from __future__ import annotations

import ast
import dataclasses
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libcst
import pytest

from losslint.findings import Range
from losslint.lowering import ir
from losslint.lowering.lower import lower
from losslint.lowering.positions import LONGEST_TEXT, locate, statement_of, text
from losslint.source import split_lines

STDLIB = Path(sysconfig.get_path("stdlib"))
FILES = [
    "argparse.py", "ast.py", "asyncio/base_events.py", "calendar.py", "codecs.py", "configparser.py",
    "ctypes/__init__.py", "dataclasses.py", "_pydecimal.py", "difflib.py", "email/header.py", "enum.py", "heapq.py",
    "html/parser.py", "inspect.py", "json/decoder.py", "locale.py", "pickle.py", "random.py", "statistics.py",
    "tokenize.py", "turtle.py", "typing.py", "test/test_unicode.py", "test/test_fstring.py",
]  # fmt: skip


def module_of(source: str) -> ir.Module:
    return lower(libcst.parse_module(source), "train.py")


def nodes_of(value: Any) -> Iterator[Any]:
    """Every IR node of a block."""
    if isinstance(value, tuple):
        for part in value:
            yield from nodes_of(part)
    elif dataclasses.is_dataclass(value) and type(value).__module__ == ir.__name__ and not isinstance(value, ir.Facts):
        yield value
        for field in dataclasses.fields(value):
            if field.name != "cst":
                yield from nodes_of(getattr(value, field.name))


def one(module: ir.Module, node_type: type, **fields: object) -> Any:
    return next(
        node
        for node in nodes_of(module.body)
        if type(node) is node_type and all(getattr(node, name) == value for name, value in fields.items())
    )


def places(source: str) -> Iterator[Any]:
    """The nodes of Python's parser; those asked for below all have a place."""
    return ast.walk(ast.parse(source))


def expected(source: str) -> set[tuple[str, int, int, int, int]]:
    """Kind and 1-based code-point range of the calls, names, attributes and operations, as Python's parser has them."""
    kinds = {ast.Call: "Call", ast.Name: "Name", ast.Attribute: "Attr", ast.BinOp: "Binary"}
    lines = [line.encode() for line in split_lines(source)]

    def column(line: int, offset: int) -> int:
        return len(lines[line - 1][:offset].decode()) + 1

    return {
        (
            kinds[type(node)],
            node.lineno,
            column(node.lineno, node.col_offset),
            node.end_lineno or 0,
            column(node.end_lineno or 0, node.end_col_offset or 0),
        )
        for node in places(source)
        if type(node) in kinds
    }


def located(source: str) -> set[tuple[str, int, int, int, int]]:
    module = module_of(source)
    everything = list(nodes_of(module.body))
    # the name after `except … as` is no expression to Python's parser
    caught = {id(node.cst) for node in everything if isinstance(node, ir.Assign) and isinstance(node.cst, libcst.Name)}
    nodes = [
        node
        for node in everything
        if type(node) in (ir.Call, ir.Name, ir.Attr, ir.Binary) and id(node.cst) not in caught
    ]
    ranges = locate(module, nodes)
    assert len(ranges) == len({id(node) for node in nodes})
    return {
        (type(node).__name__, *dataclasses.astuple(ranges[id(node)]))
        for node in nodes
        # the literal `c - 1` is written as one number
        if not isinstance(node.cst, libcst.Integer)
    }


@pytest.mark.parametrize("name", FILES)
def test_positions_are_those_of_pythons_parser(name: str) -> None:
    path = STDLIB / name
    if not path.exists():
        pytest.skip(f"this Python has no {name}")
    source = path.read_bytes().decode("utf-8-sig")
    found = located(source)
    parser = expected(source)
    if "fstring" not in name:
        # inside f-strings, older parsers place nodes wrongly
        inside = {
            (node.lineno, node.end_lineno) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.JoinedStr)
        }
        lines = {line for start, end in inside for line in range(start, (end or start) + 1)}
        found = {place for place in found if place[1] not in lines}
        assert len(found) > 200
        assert found <= parser
    else:
        assert len(found & parser) > 200


@pytest.mark.parametrize(
    "source",
    [
        "\tx = 1\n".lstrip() + "if a:\n\tb = f(c.d,\te + 1)\n",
        "a = f(b)\r\nif a:\r\n    c = '''x\r\ny''' + d\r\n",
        "a = 'é😀' + b(c)\nü = d.é + 1\n",
        "a = b(c)\n\x0c\nd = \x0ce(f)\n",
        "a = b + \\\n  c(d)\n",
        "a = (  # why\n  b +\n  c\n)",
        "@dec(a)\ndef f(x=g(1)): return x + 1",
    ],
)
def test_tabs_line_ends_and_wide_characters(source: str) -> None:
    assert located(source) <= expected(source)
    names = {place for place in expected(source) if place[0] == "Name"}
    assert names <= located(source)


def test_a_byte_order_mark_takes_no_column() -> None:
    module = lower(libcst.parse_module(b"\xef\xbb\xbfx = f(y)\n"), "train.py")
    call = one(module, ir.Call)
    assert locate(module, [call]) == {id(call): Range(1, 5, 1, 9)}


SOURCE = """\
class Trainer(Base):
    @torch.no_grad()
    def train(self, loader, k=4) -> float :  # note
        for i, (x, y) in enumerate(
            loader,  # batches
        ):
            loss = self.model(x, "a  b").mean() / k; loss.backward()
            if (i + 1) % k == 0: self.step((i, k), *x)
            elif done: pass
        while True: break
        with (a as b, c): pass
        try: pass
        except E as e: pass
        match x:  # why: this
            case 1: pass
        return (loss)
"""


@pytest.mark.parametrize(
    ("kind", "fields", "expected_range", "expected_text"),
    [
        (ir.Class, {}, (1, 1, 1, 20), "class Trainer(Base)"),
        (ir.Function, {}, (3, 5, 3, 42), "def train(self, loader, k=4) -> float"),
        (ir.For, {}, (4, 9, 6, 10), "for i, (x, y) in enumerate(loader,)"),
        (ir.Assign, {}, (7, 13, 7, 52), 'loss = self.model(x, "a b").mean() / k'),
        (ir.Evaluate, {}, (7, 54, 7, 69), "loss.backward()"),
        (ir.If, {}, (8, 13, 8, 32), "if (i + 1) % k == 0"),
        (ir.While, {}, (10, 9, 10, 19), "while True"),
        (ir.With, {}, (11, 9, 11, 25), "with (a as b, c)"),
        (ir.Try, {}, (12, 9, 12, 12), "try"),
        (ir.Match, {}, (14, 9, 14, 16), "match x"),
        (ir.Return, {}, (16, 9, 16, 22), "return (loss)"),
        (ir.Collection, {"kind": "tuple"}, (4, 13, 4, 22), "i, (x, y)"),
        (ir.Binary, {"op": "+"}, (8, 17, 8, 22), "i + 1"),
        (ir.Parameter, {"name": "k"}, (3, 29, 3, 30), "k"),
    ],
)
def test_ranges_and_texts(
    kind: type, fields: dict[str, object], expected_range: tuple[int, int, int, int], expected_text: str
) -> None:
    module = module_of(SOURCE)
    node = one(module, kind, **fields)
    assert dataclasses.astuple(locate(module, [node])[id(node)]) == expected_range
    assert text(node) == expected_text


def test_a_tuple_keeps_its_parentheses() -> None:
    module = module_of("f((a, b), (c for c in d))\n")
    nodes = [one(module, ir.Collection), one(module, ir.Comprehension)]
    assert [text(node) for node in nodes] == ["(a, b)", "(c for c in d)"]
    assert [range_.start_column for range_ in locate(module, nodes).values()] == [3, 11]


def test_long_text_is_elided_in_the_middle() -> None:
    module = module_of(f"x = begin({'a, ' * 40}end)\n")
    shown = text(one(module, ir.Call))
    assert len(shown) == LONGEST_TEXT
    assert shown.startswith("begin(a, a")
    assert "…" in shown
    assert shown.endswith("a, end)")


def test_statement_of_is_the_smallest() -> None:
    module = module_of(SOURCE + "f = lambda q: q.zap(\n  1)  # end\n")
    assert statement_of(module, one(module, ir.Binary, op="/")) == 'loss = self.model(x, "a b").mean() / k'
    assert statement_of(module, one(module, ir.Binary, op="%")) == "if (i + 1) % k == 0"
    assert statement_of(module, one(module, ir.Parameter, name="k")) == "def train(self, loader, k=4) -> float"
    assert statement_of(module, one(module, ir.Attr, name="zap")) == "f = lambda q: q.zap(1)"
    assert statement_of(module, one(module, ir.Evaluate)) == "loss.backward()"
    with pytest.raises(KeyError):
        statement_of(module_of("x = 1\n"), one(module, ir.Evaluate))


def test_nodes_of_another_module_have_no_range() -> None:
    module = module_of("x = 1\n")
    assert locate(module_of("x = 1\n"), [one(module, ir.Assign)]) == {}
