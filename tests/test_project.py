from __future__ import annotations

from pathlib import Path

import pytest

from losslint.lowering import ir
from losslint.project import MAX_FOLLOWED, MAX_FOLLOWED_BYTES, Project, definitions
from losslint.source import SourceError, SourceFile


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_load_keeps_a_module_and_names_what_is_wrong(tmp_path: Path) -> None:
    write(tmp_path, {"train.py": "x = 1\n", "bad.py": "x = 1\ny = (2\nz =\n"})
    project = Project([tmp_path])
    assert project.load(tmp_path / "train.py") is project.load(tmp_path / "train.py")
    with pytest.raises(SourceError) as caught:
        project.load(tmp_path / "bad.py")
    assert caught.value.line == 2
    assert caught.value.column == 5
    with pytest.raises(FileNotFoundError):
        project.load(tmp_path / "none.py")


def test_add_takes_the_given_text_and_name(tmp_path: Path) -> None:
    write(tmp_path, {"pkg/__init__.py": "", "pkg/train.py": "", "pkg/meters.py": "class Meter:\n    loss = 0\n"})
    project = Project([tmp_path])
    source = SourceFile(tmp_path / "pkg/train.py", "shown.py", "from .meters import Meter\n")
    module = project.add(source)
    assert module.path == "shown.py"
    found = project.find(module, "meters", 1, "Meter")
    assert found is not None
    assert isinstance(found[1], ir.Class)


def test_resolve_absolute_and_relative(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "app/pkg/__init__.py": "",
            "app/pkg/sub/__init__.py": "",
            "app/pkg/sub/deep.py": "",
            "app/pkg/losses.py": "",
            "app/pkg/logging.py": "",
            "scripts/train.py": "",
            "scripts/helper.py": "",
            "scripts/logging.py": "",
            "lib/shared.py": "",
            "lib/space/inner.py": "",
            "site-packages/torch.py": "",
        },
    )
    project = Project([tmp_path / "lib"])
    deep, script = tmp_path / "app/pkg/sub/deep.py", tmp_path / "scripts/train.py"
    assert project.resolve(deep, "losses", 2) == tmp_path / "app/pkg/losses.py"
    assert project.resolve(deep, "", 1) == tmp_path / "app/pkg/sub/__init__.py"
    assert project.resolve(deep, "", 2) == tmp_path / "app/pkg/__init__.py"
    assert project.resolve(deep, "pkg.losses", 0) == tmp_path / "app/pkg/losses.py"
    assert project.resolve(tmp_path / "app/pkg/losses.py", "logging", 0) is None
    assert project.resolve(tmp_path / "app/pkg/losses.py", "sub.deep", 0) == deep
    assert project.resolve(script, "logging", 0) == tmp_path / "scripts/logging.py"
    assert project.resolve(script, "helper", 0) == tmp_path / "scripts/helper.py"
    assert project.resolve(script, "shared", 0) == tmp_path / "lib/shared.py"
    assert project.resolve(script, "space.inner", 0) == tmp_path / "lib/space/inner.py"
    assert project.resolve(script, "space", 0) is None
    assert project.resolve_name(script, "space")
    assert project.resolve(script, "torch", 0) is None
    assert not project.resolve_name(script, "torch")
    assert Project([tmp_path]).resolve(script, "site-packages.torch", 0) is None


def test_find_follows_re_exports_stars_and_submodules(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "train.py": "",
            "lib/__init__.py": "from .a import *\nfrom .b import thing as new\nimport lib.c as see\nfrom . import c",
            "lib/a.py": "from .a2 import *\n",
            "lib/a2.py": "def starred(): pass\ndef _hidden(): pass\n",
            "lib/b.py": "if fast:\n    class thing: pass\nelse:\n    thing = None\n",
            "lib/c.py": "rate, gain = 1, 2\n",
            "space/inner.py": "",
        },
    )
    project = Project([tmp_path])
    train = project.load(tmp_path / "train.py")

    def kind(module: str, name: str) -> tuple[str, str] | None:
        found = project.find(train, module, 0, name)
        return None if found is None else (Path(found[0].path).name, type(found[1]).__name__)

    assert kind("lib", "starred") == ("a2.py", "Function")
    assert kind("lib", "_hidden") is None
    assert kind("lib", "new") == ("b.py", "Class")
    assert kind("lib", "see") == ("c.py", "NoneType")
    assert kind("lib", "c") == ("c.py", "NoneType")
    assert kind("lib", "b") == ("b.py", "NoneType")
    assert kind("lib.c", "gain") == ("c.py", "Assign")
    assert kind("space", "inner") == ("inner.py", "NoneType")
    assert kind("lib", "missing") is None
    assert kind("torch.nn", "Module") is None
    assert project.notes == []


@pytest.mark.parametrize(("links", "reached"), [(5, True), (6, False)])
def test_find_follows_five_hops(tmp_path: Path, links: int, reached: bool) -> None:
    write(tmp_path, {f"m{i}.py": f"from m{i + 1} import f\n" for i in range(links)})
    write(tmp_path, {f"m{links}.py": "def f(loss): pass\n", "train.py": ""})
    project = Project([tmp_path])
    assert (project.find(project.load(tmp_path / "train.py"), "m0", 0, "f") is not None) is reached


def test_what_says_nothing_of_a_loss_is_not_followed(tmp_path: Path) -> None:
    write(
        tmp_path, {"plots.py": "def draw(xs):\n    return xs\n\n\ndef total(loss):\n    return loss\n", "train.py": ""}
    )
    project = Project([tmp_path])
    train = project.load(tmp_path / "train.py")
    assert project.find(train, "plots", 0, "draw") is None
    assert project.find(train, "plots", 0, "total") is not None


def test_imports_in_a_circle_end(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "from b import *\nfrom b import f\n", "b.py": "from a import *\nfrom a import f\n"})
    project = Project([tmp_path])
    assert project.find(project.load(tmp_path / "a.py"), "b", 0, "f") is None


def test_what_is_out_of_bounds_is_noted(tmp_path: Path) -> None:
    write(tmp_path, {f"m{i}.py": "x = 1\n" for i in range(MAX_FOLLOWED + 1)})
    write(tmp_path, {"train.py": "", "bad.py": "x = (\n", "big.py": "#" * (MAX_FOLLOWED_BYTES + 1)})
    project = Project([tmp_path])
    train = project.load(tmp_path / "train.py")
    assert project.module(train, "bad", 0) is None
    assert project.module(train, "big", 0) is None
    assert len(project.notes) == 2
    project.load(tmp_path / "train.py")
    assert project.notes == []
    followed = [project.module(train, f"m{i}", 0) for i in range(MAX_FOLLOWED + 1)]
    assert all(module is not None for module in followed[:MAX_FOLLOWED])
    assert followed[MAX_FOLLOWED] is None
    assert project.notes == [f"more than {MAX_FOLLOWED} imported files, the rest are not followed"]
    assert project.module(train, "m0", 0) is followed[0]


def test_definitions_prefer_the_first_branch(tmp_path: Path) -> None:
    text = """
import a.b, c as d
from e import f as g
x: int
y = [z] = 1
try:
    from fast import k
except ImportError:
    k = None
if __debug__:
    def h(): pass
else:
    h = None
for i in []:
    inner = 1
"""
    write(tmp_path, {"m.py": text})
    found = definitions(Project([]).load(tmp_path / "m.py"))
    assert {name: type(node).__name__ for name, node in found.items()} == {
        "a": "Import",
        "d": "Import",
        "g": "ImportFrom",
        "x": "Declare",
        "y": "Assign",
        "z": "Assign",
        "k": "ImportFrom",
        "h": "Function",
    }
