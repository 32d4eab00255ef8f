"""A script that shows one bug with torch alone: the user's statements, a tiny world around them, and two numbers."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from losslint.claims import Claim
from losslint.findings import Finding
from losslint.output.text import where
from losslint.runtime.ledger import UNEVEN_LAST, Excerpt, Portrait
from losslint.runtime.outline import is_lossy
from losslint.runtime.scriptworld import LISTS, MASKED, MODULES, NOTED, OWN, PATCHES, RUN, WORLD, Piece, pieces

MEASURED: Mapping[Claim, tuple[str, str]] = {
    Claim.GRADIENT_SCALE: ("main()\nmeasured = steps[min(1, len(steps) - 1)][1].sum().item()", "1.0"),
    Claim.MICRO_BATCH_RATIO: (
        "main()\nweights = [w.sum().item() for w in steps[0][1].split(SIZES) if w.any()]\n"
        "measured = max(weights) / min(weights)",
        "1.0",
    ),
    Claim.LEFT_OVER: (
        "main()\nmeasured = float(len(SIZES) - max(drawn for drawn, _ in steps if drawn <= len(SIZES)))",
        "0.0",
    ),
    Claim.SHORT_WINDOW: (
        "main()\nof_pass = [grad.sum().item() for drawn, grad in steps if drawn <= len(SIZES)]\n"
        "measured = of_pass[-1] / of_pass[0]",
        "1.0",
    ),
    Claim.FIRST_WINDOW: ("main()\nmeasured = steps[0][0] / (steps[1][0] - steps[0][0])", "1.0"),
    Claim.SURVIVING_SHARE: (
        "main()\nmeasured = sum(bool(w.any()) for w in steps[0][1].split(SIZES)) / steps[0][0]",
        "1.0",
    ),
    Claim.ITEM_RATIO: (
        "main()\nweights = steps[0][1][steps[0][1] > 0]\nmeasured = (weights.max() / weights.min()).item()",
        "1.0",
    ),
    Claim.MASKED_SHARE: ("main()\nmeasured = steps[0][1].sum().item()", "1.0"),
    Claim.STALE_GRADIENT: (
        "main()\nmeasured = float(sum(bool(grad.split(SIZES)[now - 2].any()) for now, grad in steps[1 : len(SIZES)]))",
        "0.0",
    ),
    Claim.CLIPPED_SCALE: ("main()\nmeasured = (clips[0][1].sum() / steps[0][1].sum()).item()", "1.0"),
    Claim.SCALER_ORDER: (
        'main()\nmade = ["update", *sorted({"unscale_"} & {*calls})]\n'
        "measured = {name: calls.count(name) / len(steps) for name in made}",
        "dict.fromkeys(measured, 1.0)",
    ),
    Claim.FIGURE_SCALE: ("(measured,) = run()", "1.0"),
    Claim.FIGURE_SHARE: ("(measured,) = run()", "1.0"),
    Claim.FIGURE_BATCHES: (
        "(base,) = run()\nmeasured = sum(run(batch) != [base] for batch in range(len(SIZES))) / len(SIZES)",
        "1.0",
    ),
    Claim.FIGURE_LAST_BATCH: (
        "(base,) = run()\nfirst, last = ((run(b)[0] - base) / SIZES[b] for b in (0, len(SIZES) - 1))\n"
        "measured = last / first",
        "1.0",
    ),
    Claim.FIGURE_CURVE: ("measured = run(scale=2.0)[0] / (2 * run()[0])", "1.0"),
    Claim.FIGURE_PAIR: (
        'main()\n*_, train, validation = map(float, re.findall(r"[0-9.]+", printed[0]))\nmeasured = train / validation',
        "1.0",
    ),
    Claim.CLIP_ORDER: (
        "main()\nmeasured = 1 - sum(\n"
        "    now < len(steps) and bool(grad.any() and (steps[now][1] == grad).all()) for now, grad in clips\n"
        ") / len(clips)",
        "0.0",
    ),
    Claim.NO_GRADIENT: (
        "main()\nnew = [grad.split(SIZES)[(now - 1) % len(SIZES)] for now, grad in steps[1:]]\n"
        "measured = sum(not grad.any() for grad in new) / len(new)",
        "0.0",
    ),
    Claim.GRAPHS_ALIVE: ("main()\nmeasured = float(max(alive))", "0.0"),
    Claim.LOSS_CHANGED: ("main()\nmade, value, *_ = losses[0]\nmeasured = (made.detach() / value).item()", "1.0"),
}
"""How the number of a claim is read off in the script, and what it should be."""

UNEVEN = (
    "main()\nweights = [w.sum().item() for _, grad in steps for w in grad.split(SIZES) if w.any()]\n"
    "measured = max(weights) / min(weights)",
    "1.0",
)
"""The same for a scale of the gradient that changes from batch to batch, of which there is no one number."""

FIGURES = frozenset(claim for claim in MEASURED if claim.name.startswith("FIGURE") and claim is not Claim.FIGURE_PAIR)
_MASKING = frozenset({Claim.MASKED_SHARE, Claim.ITEM_RATIO})
_STATEFUL = re.compile(r"\b(Loader|Optimizer|Scaler|Accelerator|Engine|Meter|Model|Anything)\(")


class EmitError(Exception):
    """A finding that no script can show; the message is for the user."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A script under way: the pieces of its world, and the statements that it takes over. `changes`: what is measured
    changes from batch to batch, and by how much is asked."""

    finding: Finding
    claim: Claim
    world: tuple[Piece, ...]
    excerpt: Excerpt
    changes: bool = False

    @property
    def length(self) -> int:
        """The lines of the script."""
        return len(self.text().splitlines())

    def text(self) -> str:
        """The whole script."""
        measured = _measured(self.claim, self.excerpt, changes=self.changes)
        told = "".join(_told(self.finding, self.claim, self.excerpt))
        world = _freed("".join(piece.text for piece in self.world), _taken(self.excerpt))
        read = re.sub(r'".*?"', "", f"{world}{measured}")
        lists = [name for name in LISTS if name == "steps" or re.search(rf"\b{name}\b", read)]
        world = world.replace(_NO_LISTS, f"{', '.join(lists)} = {', '.join(['[]'] * len(lists))}\n")
        text = f"{world}{told}{measured}"
        imports = [f"import {name}\n" for name in MODULES if re.search(rf"\b{name}\.", text)]
        seed = "\ntorch.manual_seed(0)\n" if re.search(r"\brand", text) else "\n"
        return f"{_title(self.finding)}{''.join(imports)}\nimport torch\n{seed}{_spaced(text)}"


_NO_LISTS = "# lists\n"


def draft(finding: Finding, claim: Claim, portrait: Portrait) -> Draft:
    """The first draft of the script for a finding. Raises `EmitError`."""
    if claim not in MEASURED:
        raise EmitError(f"what {finding.code} claims cannot be shown by a script")
    excerpt = portrait.excerpt
    if excerpt is None:
        raise EmitError(portrait.uncut or "the statements that the finding is about cannot be cut out")
    if claim in FIGURES and "show(" not in f"{excerpt.source}{excerpt.body}":
        raise EmitError("the reported figure is not among the statements that a script can take over")
    return Draft(finding, claim, tuple(_world(claim, portrait, excerpt)), excerpt)


def _world(claim: Claim, portrait: Portrait, excerpt: Excerpt) -> Iterator[Piece]:
    shape = portrait.shape
    sizes = [shape.batch_size] * (shape.batches - 1) + [shape.last_batch]
    if claim in (Claim.FIGURE_BATCHES, Claim.STALE_GRADIENT):
        sizes = sizes[:4]
    if claim in (Claim.FIGURE_LAST_BATCH, Claim.FIGURE_SHARE):
        sizes[-1] = UNEVEN_LAST
    if claim is Claim.ITEM_RATIO:
        sizes = [shape.batch_size if number % 2 else shape.batch_size // 4 for number in range(shape.batches)]
    words = "\n".join([excerpt.source, excerpt.body, *excerpt.imports, *excerpt.stubs.values()])
    noted = "" if claim not in (Claim.GRAPHS_ALIVE, Claim.LOSS_CHANGED) else NOTED
    yield from pieces(
        WORLD.format(
            window=shape.window,
            sizes=_sizes(sizes),
            lists=_NO_LISTS.strip(),
            noted=noted.replace("KEPT", "made" if claim is Claim.LOSS_CHANGED else "None"),
            attribute=_attribute(words),
            **_reduction(words),
            masked=MASKED if claim in _MASKING else "",
        )
    )
    yield from (Piece(text) for pattern, text in PATCHES if re.search(pattern, words))


def _reduction(words: str) -> dict[str, str]:
    """How a loss function is told to reduce: also in the old way, where the statements do."""
    if re.search(r"\breduce=False", words):
        return {"options": 'reduction="mean", reduce=True, ', "reduction": 'reduction if reduce else "none"'}
    if re.search(r"\bsize_average=False", words):
        return {"options": 'size_average=True, reduction="mean", ', "reduction": 'reduction if size_average else "sum"'}
    return {"options": 'reduction="mean", ', "reduction": "reduction"}


def _attribute(words: str) -> str:
    """What an attribute of anything is: a loss, what makes one, or anything."""
    names = {name for name in re.findall(r"\.(\w+)", words) if is_lossy(name) and name != "scale_loss"}
    names |= {name for name in re.findall(r"\[['\"](\w+)['\"]\]", words) if is_lossy(name)}
    makers = {name for name in names if re.search(rf"\.{name}\(", words)}
    values = sorted(names - makers)
    made = f"reduced() if name in {tuple(values)!r} else " if values else ""
    maker = f"loss_of_items if name in {tuple(sorted(makers))!r} else " if makers else ""
    return f"{made}{maker}Anything()"


def _spaced(text: str) -> str:
    """Code with one blank line around each definition at its own level, one before comments, and no other."""
    lines: list[str] = []
    inside = False
    for line in filter(str.strip, text.split("\n")):
        outside = not line.startswith((" ", ")"))
        opens = re.match(r"(class|def)\b|@", line) is not None
        if outside and lines and (opens or inside or line.startswith("# ")) and not lines[-1].startswith(("@", "# ")):
            lines.append("")
        inside = opens if outside else inside
        lines.append(line)
    return "\n".join(lines) + "\n"


def _title(finding: Finding) -> str:
    place = f"{where(finding.path, finding.cell)}:{finding.range.start_line}"
    first = f"{finding.code} {finding.name} at {place}, shown with torch alone. Written by losslint."
    message = textwrap.wrap(finding.message.replace("\\", "/").replace('"""', "'''"), 110)
    return (
        '"""' + "\n".join(textwrap.wrap(first, 110, break_long_words=False)) + "\n\n" + "\n".join(message) + '\n"""\n\n'
    )


def _told(finding: Finding, claim: Claim, excerpt: Excerpt) -> Iterator[str]:
    """What follows on the world."""
    taken = _taken(excerpt)
    words = set(re.findall(r"\w+", "\n".join([excerpt.source, excerpt.body, *excerpt.stubs.values()])))
    yield "".join(f"{line}\n" for line in excerpt.imports if re.findall(r"\w+", line)[-1] in words)
    fresh = {name: value for name, value in excerpt.stubs.items() if _STATEFUL.search(value)}
    plain = {name: value for name, value in excerpt.stubs.items() if name not in fresh and name != value}
    yield "\n# what the statements get from elsewhere\n" if plain else ""
    yield "".join(f"{name} = {value}\n" for name, value in plain.items())
    if claim is Claim.FIGURE_PAIR:
        yield "print_, print = print, lambda *words, **_: printed.append(' '.join(map(str, words)))\n"
    yield f"\n\n# the statements of {where(finding.path, finding.cell)}\n"
    yield f"{excerpt.source}\n\n\n" if excerpt.source else ""
    lines = [f"global {', '.join(sorted(shared))}"] if (shared := _shared(excerpt, fresh)) else []
    lines += [f"{name} = {value}" for name, value in fresh.items()]
    lines += excerpt.body.split("\n")
    lines += ["look()"] if claim is Claim.GRAPHS_ALIVE else []
    yield f"def {'main_' if 'main' in taken else 'main'}():\n" + textwrap.indent("\n".join(lines), "    ") + "\n\n\n"


def _measured(claim: Claim, excerpt: Excerpt, *, changes: bool) -> str:
    """What reads the two numbers off and prints them."""
    measure, expected = UNEVEN if changes else MEASURED[claim]
    words = Claim.MICRO_BATCH_RATIO.value if changes else claim.value
    say = "print_" if claim is Claim.FIGURE_PAIR else "print"
    read = _freed(f"{RUN if claim in FIGURES else ''}{measure}\n", _taken(excerpt))
    return f'{read}{say}("{words}")\n{say}("expected", {expected})\n{say}("measured", measured)\n'


def _shared(excerpt: Excerpt, fresh: Mapping[str, str]) -> set[str]:
    """The names that the main function binds and the definitions read."""
    bound = {
        node.id
        for node in ast.walk(ast.parse(excerpt.body))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    read = {node.id for node in ast.walk(ast.parse(excerpt.source)) if isinstance(node, ast.Name)}
    return (bound | set(fresh)) & read


def _taken(excerpt: Excerpt) -> list[str]:
    definitions = [*ast.parse(excerpt.source).body, *ast.parse(excerpt.body).body]
    defined = {node.name for node in definitions if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    stored = {
        node.id
        for node in ast.walk(ast.parse(excerpt.body))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return sorted(OWN & (defined | stored | set(excerpt.stubs)))


def _freed(text: str, taken: Sequence[str]) -> str:
    """A piece of the world without the names that are taken."""
    for name in taken:
        text = re.sub(rf"\b{name}\b", f"{name}_", text)
    return text


def _sizes(sizes: list[int]) -> str:
    first, last = sizes[0], sizes[-1]
    if sizes == [first] * len(sizes):
        return f"[{first}] * {len(sizes)}"
    if sizes == [first] * (len(sizes) - 1) + [last]:
        return f"[{first}] * {len(sizes) - 1} + [{last}]"
    return repr(sizes)
