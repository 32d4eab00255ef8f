"""A script that shows one bug with torch alone: the user's statements, a tiny world around them, and two numbers."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from losslint.claims import Claim
from losslint.findings import Finding
from losslint.output.text import where
from losslint.runtime.ledger import UNEVEN_LAST, Excerpt, Portrait

_HEAD = """\
import torch
from torch.optim import optimizer as optim

WINDOW, SIZES = {window}, {sizes}  # micro-batches a step; items of each batch of a pass
gain = torch.nn.Parameter(torch.ones(sum(SIZES)))  # the loss of item i is gain[i], so gain.grad[i] is its weight
state = {{"batch": 0, "drawn": 0}}
start = gain.detach().clone()
{lists}


def part():
    first = sum(SIZES[: state["batch"]])
    return slice(first, first + SIZES[state["batch"]])


def reduced(reduction="mean"):
    return getattr(gain[part()] * 1.0, reduction)() if reduction != "none" else gain[part()] * 1.0


{noted}class Anything:
    def __init__(self, *_, **__): pass
    def __getattr__(self, name):
        if name.startswith("__"): raise AttributeError(name)
        return reduced() if name == "loss" else Anything()
    def __call__(self, *_, **__): return Anything()
    def __getitem__(self, _): return Anything()
    def __iter__(self):  # as many parts as the caller takes it into
        frame = sys._getframe(1)
        operation, count = frame.f_code.co_code[frame.f_lasti : frame.f_lasti + 2]
        return iter([type(self)() for _ in range(count if dis.opname[operation] == "UNPACK_SEQUENCE" else 2)])
    def __enter__(self): return self
    def __exit__(self, *_): return False
    def __eq__(self, _): return True
    __hash__ = object.__hash__
    def weighted(self, other): return other if isinstance(other, torch.Tensor) else Anything()
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = weighted


class Batch(Anything):
    shape = property(lambda self: (SIZES[state["batch"]], 1))
    def size(self, *_): return SIZES[state["batch"]]
    __len__ = numel = size
    def to(self, *_, **__): return self
    def __rmul__(self, other): return other * (torch.arange(other.numel()) == 0)  # a mask that leaves one item
    cuda = float = long = to


class Loader(Anything):
    def __init__(self, count=len(SIZES)): self.count, self.dataset = count, range(sum(SIZES[:count]))
    def __len__(self): return self.count
    def __iter__(self):
        for state["batch"] in range(self.count):
            state["drawn"] += 1
            yield Batch()


class Model(Anything):
    def parameters(self): return iter([gain])


def criterion(*_, reduction="mean", **__): return reduced(reduction)
def before_step(*_): steps.append((state["drawn"], torch.zeros_like(gain) if gain.grad is None else gain.grad.clone()))
def after_step(*_): gain.data.copy_(start)


optim.register_optimizer_step_pre_hook(before_step)
optim.register_optimizer_step_post_hook(after_step)
"""
_NOTED = """\
plain = reduced
def reduced(reduction="mean"):  # notes what is made, and which of the graphs are still alive
    alive.append(sum(mark() is not None for *_, mark in losses))
    made = plain(reduction)
    mark = type("Mark", (), {})()
    if made.grad_fn is not None: made.grad_fn.metadata["mark"] = mark
    losses.append((KEPT, made.detach().clone(), weakref.ref(mark)))
    return made


"""
_PATCHES = (
    ("DataLoader", "torch.utils.data.DataLoader = lambda *_, **__: Loader()"),
    ("DistributedDataParallel|DDP", "torch.nn.parallel.DistributedDataParallel = lambda model, **_: model"),
    (
        r"\bnn\.[A-Z]|nn import|Module|Loss\b",
        "torch.nn.Module.parameters = Model.parameters\n"
        "torch.nn.Module.__call__ = lambda self, *_, **__: (\n"
        "    reduced(self.reduction) if isinstance(self, torch.nn.modules.loss._Loss) else Anything()\n)",
    ),
    (
        r"clip_grad",
        "def clip(*_, **__): clips.append(gain.grad.clone())\n"
        "torch.nn.utils.clip_grad_norm_ = torch.nn.utils.clip_grad_value_ = clip",
    ),
    (
        "autocast",
        "torch.autocast = torch.amp.autocast = torch.cuda.amp.autocast = lambda *_, **__: contextlib.nullcontext()",
    ),
    (
        r"\bF\.|functional|cross_entropy|nll_loss|mse_loss|l1_loss|with_logits",
        'for name in ("cross_entropy", "nll_loss", "mse_loss", "l1_loss", "binary_cross_entropy_with_logits"):\n'
        "    setattr(torch.nn.functional, name, criterion)",
    ),
    (
        r"\bshow\(",
        'def show(value):\n    shown.append((state["drawn"], float(value)))\n    return value',
    ),
)
"""What is put in the place of parts of torch, and the words in a script that call for it."""
_SCALER = """\
class Scaler(torch.amp.GradScaler):
    def __init__(self, *_, **__):
        super().__init__("cpu", init_scale=1024.0)
        self.scale(torch.ones(1))
    def unscale_(self, optimizer):
        calls.append("unscale_")
        with contextlib.suppress(RuntimeError): super().unscale_(optimizer)  # a second call is an error
    def step(self, optimizer, *_):
        calls.append("step")
        super().step(optimizer)
        super().update()  # or another step of it would be an error
    def update(self, *_): calls.append("update")


torch.amp.GradScaler = torch.cuda.amp.GradScaler = Scaler
"""
_ACCELERATOR = """\
class Accelerator:  # what accelerate does: divides by the window, and steps at its end
    def __init__(self, *_, **__): self.seen, self.sync_gradients = 0, True
    def prepare(self, *parts):
        for one in parts:
            if isinstance(one, torch.optim.Optimizer):
                step, zero = one.step, one.zero_grad
                one.step = lambda *_, step=step: self.sync_gradients and step()
                one.zero_grad = lambda *_, zero=zero: self.sync_gradients and zero()
        return parts if len(parts) > 1 else parts[0]
    @contextlib.contextmanager
    def accumulate(self, *_):
        self.seen += 1
        self.sync_gradients = self.seen % WINDOW == 0 or state["batch"] + 1 == len(SIZES)
        yield
    def backward(self, loss, **_): (loss / WINDOW).backward()
    def __getattr__(self, _): return Anything()
"""
_RUN = '''\
def run(change=None, scale=1.0):
    """The figure of the first pass, where all losses are `scale`, and those of batch `change` twice that."""
    shown.clear()
    state.update(batch=0, drawn=0)
    start.copy_(torch.full_like(start, scale))
    if change is not None: start[sum(SIZES[:change]) : sum(SIZES[: change + 1])] *= 2
    gain.data.copy_(start)
    gain.grad = None
    main()
    first_pass = [value for drawn, value in shown if drawn <= len(SIZES)]
    return first_pass[-1:] or [value for _, value in shown[:1]]
'''

_MEASURES: Mapping[Claim, tuple[str, str]] = {
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
    Claim.CLIPPED_SCALE: ("main()\nmeasured = (clips[0].sum() / steps[0][1].sum()).item()", "1.0"),
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
    Claim.GRAPHS_ALIVE: ("main()\nmeasured = float(max(alive))", "0.0"),
    Claim.LOSS_CHANGED: ("main()\nmade, value, _ = losses[0]\nmeasured = (made.detach() / value).item()", "1.0"),
}
"""How the number of a claim is read off in the script, and what it should be."""

_FIGURES = frozenset(claim for claim in _MEASURES if claim.name.startswith("FIGURE") and claim is not Claim.FIGURE_PAIR)

_STUBS = {
    "model": "Model()",
    "loader": "Loader()",
    "optimizer": "torch.optim.SGD([gain], lr=0.1)",
    "scaler": "Scaler()",
    "criterion": "criterion",
    "anything": "Anything()",
}


class EmitError(Exception):
    """A finding that no script can show; the message is for the user."""


def script(finding: Finding, claim: Claim, portrait: Portrait, lines: Sequence[str]) -> str:
    """The script for a finding in a file of these `lines`. Raises `EmitError`.

    It prints what the number of the claim is and what it should be, and needs nothing but torch.
    """
    excerpt = portrait.excerpt
    if excerpt is None or claim not in _MEASURES:
        raise EmitError(f"what {finding.code} claims cannot be shown by a script")
    measure, expected = _MEASURES[claim]
    if "steps" in measure and not _has_optimizer(excerpt):
        raise EmitError("the steps are taken by what a script with torch alone cannot stand in for")
    source = _with_figure(excerpt.source, portrait, lines) if claim in _FIGURES else excerpt.source
    text = "\n".join(_parts(finding, claim, portrait, excerpt, source, measure, expected))
    return re.sub(r"\n{3,}", "\n\n", text) + "\n"


def _has_optimizer(excerpt: Excerpt) -> bool:
    """Whether the statements are given an optimizer of torch, or make one."""
    made = re.search(r"\b(optim\.\w+|SGD|Adam\w*|RMSprop)\(", excerpt.source)
    return made is not None or "optimizer" in excerpt.stubs.values()


def _parts(
    finding: Finding, claim: Claim, portrait: Portrait, excerpt: Excerpt, source: str, measure: str, expected: str
) -> Iterator[str]:
    file = where(finding.path, finding.cell)
    place = f"{file}:{finding.range.start_line}"
    yield f'"""{finding.code} {finding.name} at {place}, shown with torch alone. Written by losslint.\n'
    yield from textwrap.wrap(finding.message.replace("\\", "/").replace('"""', "'''"), 110)
    yield '"""\n'
    shape = portrait.shape
    sizes = [shape.batch_size] * (shape.batches - 1) + [shape.last_batch]
    if claim in (Claim.FIGURE_BATCHES, Claim.STALE_GRADIENT):
        sizes = sizes[:4]
    if claim in (Claim.FIGURE_LAST_BATCH, Claim.FIGURE_SHARE):
        sizes[-1] = UNEVEN_LAST
    if claim is Claim.ITEM_RATIO:
        sizes = [shape.batch_size if number % 2 else shape.batch_size // 4 for number in range(shape.batches)]
    taken = _taken(source, excerpt)
    text = "\n".join(_program(finding, claim, portrait, excerpt, source, measure, expected, taken))
    noted = _noted(claim)
    lists = _lists(f"{noted}{text}")
    head = _HEAD.format(window=shape.window, sizes=_sizes(sizes), lists=lists, noted=noted)
    yield from (f"import {name}" for name in _MODULES if f"{name}." in f"{head}{text}")
    yield f"\n{_freed(head, taken)}{text}"


def _program(
    finding: Finding,
    claim: Claim,
    portrait: Portrait,
    excerpt: Excerpt,
    source: str,
    measure: str,
    expected: str,
    taken: Sequence[str],
) -> Iterator[str]:
    """What follows on the world."""
    words = "\n".join([source, *excerpt.imports, *excerpt.stubs])
    yield from (_freed(text, taken) for pattern, text in _PATCHES if re.search(pattern, words))
    if "caler" in source:
        yield _freed(f"\n{_SCALER}", taken)
    if "Accelerator" in excerpt.stubs:
        yield _freed(f"\n{_ACCELERATOR}", taken)
    yield "\n# what the statements import, and stand-ins for the names that they leave open"
    yield from excerpt.imports
    for name, role in excerpt.stubs.items():
        if role == "number":
            yield f"{name} = {excerpt.values.get(name, 1.0):g}"
        elif name not in ("criterion", "Accelerator"):
            # as many batches as in training would hide what counts the wrong ones
            other = role == "loader" and re.search("val|test|eval", name)
            yield f"{name} = Loader(7)" if other else f"{name} = {_STUBS[role]}"
    if claim is Claim.FIGURE_PAIR:
        yield "print_, print = print, lambda *words, **_: printed.append(' '.join(map(str, words)))"
    yield f"\n\n# the statements of {where(finding.path, finding.cell)}"
    main = "main_" if "main" in taken else "main"
    if excerpt.call:
        yield f"{source}\n\n\ndef {main}():\n    {excerpt.call}"
    else:
        yield f"def {main}():\n{textwrap.indent(source, '    ')}"
    yield _freed(f"\n\n{_RUN}\n{measure}" if claim in _FIGURES else f"\n\n{measure}", taken)
    say = "print_" if claim is Claim.FIGURE_PAIR else "print"
    yield f'{say}("{claim.value}")'
    yield f'{say}("expected", {expected})'
    yield f'{say}("measured", measured)'


_LISTS = ("steps", "clips", "shown", "printed", "losses", "calls", "alive")
_MODULES = ("contextlib", "dis", "re", "sys", "weakref")


def _lists(text: str) -> str:
    """The lists in which the world notes what is asked for, made empty."""
    names = [name for name in _LISTS if name == "steps" or re.search(rf"\b{name}\b", text)]
    return f"{', '.join(names)} = {', '.join(['[]'] * len(names))}"


def _noted(claim: Claim) -> str:
    if claim not in (Claim.GRAPHS_ALIVE, Claim.LOSS_CHANGED):
        return ""
    return _NOTED.replace("KEPT", "made" if claim is Claim.LOSS_CHANGED else "None")


_OWN = frozenset(
    "state steps clips shown printed losses calls alive gain part plain reduced show run main start clip before_step "
    "after_step optim measured Batch Loader Model Scaler Anything".split()
)
"""The names of the world, which give way to those of the user's statements."""


def _taken(source: str, excerpt: Excerpt) -> list[str]:
    defined = {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return sorted(_OWN & (defined | set(excerpt.stubs)))


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


def _with_figure(source: str, portrait: Portrait, lines: Sequence[str]) -> str:
    """The statements with the figure handed to `show` on its way; raises `EmitError` where it is not among them."""
    curve = portrait.curve
    # a call that shows it may go over several lines
    near = lines[curve.line - 1 : curve.line + _MOST_LINES_OF_A_CALL] if curve is not None and curve.line > 0 else ()
    line = next((line for line in near if curve is not None and curve.label in line), None)
    if curve is None or line is None or line not in source.split("\n"):
        raise EmitError("the reported figure is not among the statements that a script can take over")
    return source.replace(line, f"show({curve.label})".join(line.split(curve.label, 1)), 1)


_MOST_LINES_OF_A_CALL = 8
