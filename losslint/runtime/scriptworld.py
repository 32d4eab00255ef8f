"""The tiny world of a script, in pieces: those that every script has, and those that only some need.

Text only. It is kept short, for somebody reads it. The loss of item `i` *is* `gain[i]`, so that after a backward
`gain.grad[i]` is the weight with which the item entered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines of a script; an `optional` piece goes where the script prints the same without it."""

    text: str
    optional: bool = True


def pieces(text: str) -> Iterator[Piece]:
    """The pieces of a text: a line `#?` begins one that is optional, `#!` one that is not."""
    for mark, part in re.findall(r"^#([?!])\n(.*?)(?=^#[?!]\n|\Z)", text, re.DOTALL | re.MULTILINE):
        yield Piece(part, mark == "?")


WORLD = '''\
#!
WINDOW, SIZES = {window}, {sizes}  # micro-batches a step; items of each batch of a pass
gain = torch.nn.Parameter(torch.ones(sum(SIZES)))  # the loss of item i is gain[i], so gain.grad[i] is its weight
state = {{"batch": 0, "drawn": 0}}
{lists}


def part():
    first = sum(SIZES[: state["batch"]])
    return slice(first, first + SIZES[state["batch"]])


def reduced(reduction="mean"):
    return getattr(gain[part()] * 1.0, reduction)() if reduction != "none" else gain[part()] * 1.0


{noted}def loss_of_items(*_, {options}**__): return reduced({reduction})


class Anything:
    """Whatever the statements get from elsewhere."""
#?
    def __init__(self, *_, **known): vars(self).update(known)
#?
    def __getattr__(self, name):
        if name.startswith("_"): raise AttributeError(name)
        return {attribute}
#?
    def __call__(self, *given, **_):
        return next((one for one in given if isinstance(one, (Loader, enumerate, zip))), type(self)())
#?
    def __getitem__(self, key): return getattr(self, key) if isinstance(key, str) else type(self)()
#?
    def __setitem__(self, key, value): vars(self)[key] = value
#?
    def __iter__(self):  # as many parts as the caller takes it into
        frame = sys._getframe(1)
        operation, count = frame.f_code.co_code[frame.f_lasti : frame.f_lasti + 2]
        return iter([type(self)() for _ in range(count if dis.opname[operation] == "UNPACK_SEQUENCE" else 2)])
#?
    def __enter__(self): return self
    def __exit__(self, *_): return False
#?
    def __eq__(self, _): return Anything()
    __hash__ = object.__hash__
#?
    __lt__ = __le__ = __gt__ = __ge__ = __contains__ = lambda self, _: Anything()
#?
    def other(self, other): return other if isinstance(other, torch.Tensor) else type(self)()
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __matmul__ = other
    __mod__ = __rmod__ = __floordiv__ = __rfloordiv__ = __pow__ = __rpow__ = __and__ = __or__ = other
#?
    __neg__ = __invert__ = lambda self: self
#?
    __int__ = __index__ = __round__ = lambda self, *_: 2
#?
    __float__ = lambda self: 1.0
#?
    __format__ = lambda self, _: "?"
#?
    keys = lambda self: ()
#?
    def scale_loss(self, loss, *_, **__): return contextlib.nullcontext(loss)
#?
    @classmethod
    def __torch_function__(cls, function, types, given=(), options=None):  # a loss stays what it is
        return next((one for one in given if type(one) is torch.Tensor), cls())
#?
    shape = property(lambda self: (SIZES[state["batch"]], 1))
#?
    def size(self, *_): return SIZES[state["batch"]]
    __len__ = numel = size


#!
class Batch(Anything):
    """A batch, or part of one."""
#?
    def __getattr__(self, name):
        if name.startswith("_"): raise AttributeError(name)
        return Batch()
#?
{masked}
#!


class Loader(Anything):
    """Batches."""
#?
    batch_size = SIZES[0]
#!
    def __init__(self, count=len(SIZES)): self.count, self.dataset = count, range(sum(SIZES[:count]))
#?
    def __len__(self): return self.count
#?
    def __next__(self):
        state.update(batch=state["drawn"] % self.count, drawn=state["drawn"] + 1)
        return Batch()
#!
    def __iter__(self):
        for state["batch"] in range(self.count):
            state["drawn"] += 1
            yield Batch()


#?
class Model(Anything):
    """The model."""
#?
    def parameters(self): return iter([gain])
#?
    def zero_grad(self, *_, **__): gain.grad = None


#?
class Optimizer(Anything):
    """Notes the gradient that a step takes."""
#?
    param_groups = [{{"params": [gain], "lr": 0.1}}]
#?
    def zero_grad(self, *_, **__): gain.grad = None
#?
    def backward(self, loss, *_, **__): loss.backward()
#?
    def step(self, *_, **__):
        steps.append((state["drawn"], torch.zeros_like(gain) if gain.grad is None else gain.grad.clone()))
'''
NOTED = """\
plain = reduced


def look():  # of how many batches graphs are still alive
    alive.append(len({drawn for *_, drawn, mark in losses if mark() is not None}))


def reduced(reduction="mean"):  # notes what is made
    look()
    made = plain(reduction)
    mark = type("Mark", (), {})()
    if made.grad_fn is not None: made.grad_fn.metadata["mark"] = mark
    losses.append((KEPT, made.detach().clone(), state["drawn"], weakref.ref(mark)))
    return made


"""
MASKED = """\
    @classmethod
    def __torch_function__(cls, function, types, given=(), options=None):  # a mask leaves one item
        one = super().__torch_function__(function, types, given, options)
        return one * (torch.arange(one.numel()) == 0) if "mul" in function.__name__ else one
"""

PATCHES: tuple[tuple[str, str], ...] = (
    (r"\bVariable\(", "torch.autograd.Variable = lambda value, *_, **__: value\n"),
    ("DataLoader", "torch.utils.data.DataLoader = lambda *_, **__: Loader()\n"),
    (
        r"\bLoss\b|Loss\(",
        "torch.nn.Module.__call__ = lambda self, *_, **__: (\n"
        "    reduced(self.reduction) if isinstance(self, torch.nn.modules.loss._Loss) else Anything()\n)\n",
    ),
    (
        r"clip_grad",
        "def clip(*_, **__):  # notes which step comes next\n"
        "    clips.append((len(steps), torch.zeros_like(gain) if gain.grad is None else gain.grad.clone()))\n"
        "torch.nn.utils.clip_grad_norm_ = torch.nn.utils.clip_grad_value_ = clip\n",
    ),
    (
        "autocast",
        "torch.autocast = torch.amp.autocast = torch.cuda.amp.autocast = lambda *_, **__: contextlib.nullcontext()\n",
    ),
    (
        r"\bF\.|functional|cross_entropy|nll_loss|mse_loss|l1_loss|with_logits",
        "for name in vars(torch.nn.functional):\n"
        '    if name.endswith("_loss") or "entropy" in name or name == "kl_div":\n'
        "        setattr(torch.nn.functional, name, loss_of_items)\n",
    ),
    (r"cuda|\.to\(", "torch.Tensor.cuda = torch.Tensor.to = lambda self, *_, **__: self\n"),
    (
        r"\bshow\(",
        "\n\ndef show(value):  # the figure that is reported\n"
        '    shown.append((state["drawn"], float(value)))\n    return value\n',
    ),
    (
        r"\brounds\(",
        "\n\ndef rounds(count):  # each of them draws a batch\n    for place in range(count):\n"
        "        state.update(batch=place % len(SIZES), drawn=place + 1)\n        yield place\n",
    ),
    (
        r"\bMeter\(",
        "\n\nclass Meter(Anything):\n"
        '    """The mean of what it is given."""\n'
        "    def __init__(self, *_, **__): self.reset()\n"
        "    def reset(self): self.sum = self.count = self.val = 0.0\n"
        "    def update(self, value, n=1):\n"
        "        self.val, self.sum, self.count = float(value), self.sum + float(value) * n, self.count + n\n"
        "    avg = average = global_avg = property(lambda self: self.sum / self.count if self.count else 0.0)\n"
        "    __float__ = compute = lambda self: self.avg\n",
    ),
    (
        r"\b(Grad)?Scaler\(",
        '''

class Scaler(torch.amp.GradScaler):
    """The real one, on the CPU."""
    def __init__(self, *_, **__):
        super().__init__("cpu", init_scale=1024.0)
        self.scale(torch.ones(1))
    def unscale_(self, optimizer):
        calls.append("unscale_")
        with contextlib.suppress(RuntimeError): super().unscale_(optimizer)  # a second call is an error
    def step(self, optimizer, *_):
        calls.append("step")
        with contextlib.suppress(AssertionError): super().step(optimizer)  # so is a step without a gradient
        super().update()  # or another step of it would be an error
    def update(self, *_): calls.append("update")


torch.amp.GradScaler = torch.cuda.amp.GradScaler = Scaler
''',
    ),
    (
        r"\bAccelerator\(",
        '''

class Accelerator(Anything):
    """What accelerate does: divides by the window, and steps at its end."""
    def __init__(self, *_, **__): self.seen, self.sync_gradients = 0, True
    def prepare(self, *parts):
        for one in parts:
            if isinstance(one, Optimizer):
                step, zero = one.step, one.zero_grad
                one.step = lambda *_, step=step, **__: self.sync_gradients and step()
                one.zero_grad = lambda *_, zero=zero, **__: self.sync_gradients and zero()
        return parts if len(parts) > 1 else parts[0]
    @contextlib.contextmanager
    def accumulate(self, *_):
        self.seen += 1
        self.sync_gradients = self.seen % WINDOW == 0 or state["batch"] + 1 == len(SIZES)
        yield
    def backward(self, loss, **_): (loss / WINDOW).backward()
    gather = gather_for_metrics = reduce = lambda self, value, *_, **__: value
''',
    ),
    (
        r"\bEngine\(",
        '''

class Engine(Model):
    """What DeepSpeed does: `backward` divides by the window, `step` steps and zeroes at its end."""
    seen, optimizer = 0, Optimizer()
    def backward(self, loss, *_, **__): (loss / WINDOW).backward()
    def gradient_accumulation_steps(self): return WINDOW
    def is_gradient_accumulation_boundary(self): return (self.seen + 1) % WINDOW == 0
    def zero_grad(self, *_): pass  # the engine zeroes by itself
    def step(self, *_):
        self.seen += 1
        if self.seen % WINDOW == 0: self.optimizer.step(), self.optimizer.zero_grad()
''',
    ),
    (
        r"\btrainer_fits\(",
        '''

def trainer_fits(module):
    """What Lightning does: divides by the window, steps at its end and at that of the pass."""
    optimizer = Optimizer()
    for place, batch in enumerate(Loader()):
        made = module.training_step(*(batch, place)[: module.training_step.__code__.co_argcount - 1])
        ((made["loss"] if isinstance(made, dict) else made) / WINDOW).backward()
        if (place + 1) % WINDOW == 0 or place + 1 == len(SIZES):
            optimizer.step()
            optimizer.zero_grad()
''',
    ),
)
"""What stands in for parts of torch and of others, and the words in a script that call for it."""

RUN = '''

def run(change=None, scale=1.0):
    """The figure of the first pass, where the loss of each item is `scale`, and twice that in batch `change`."""
    shown.clear()
    state.update(batch=0, drawn=0)
    gain.data.copy_(torch.full_like(gain, scale))
    if change is not None: gain.data[sum(SIZES[:change]) : sum(SIZES[: change + 1])] *= 2
    gain.grad = None
    main()
    first_pass = [value for drawn, value in shown if drawn <= len(SIZES)]
    return first_pass[-1:] or [value for _, value in shown[:1]]


'''
LISTS = ("steps", "clips", "shown", "printed", "losses", "calls", "alive")
"""The names of what the world notes."""
MODULES = ("contextlib", "dis", "functools", "re", "sys", "weakref")
OWN = frozenset(
    "look rounds state steps clips shown printed losses calls alive part plain reduced show run main clip measured "
    "Batch Loader Model Scaler Anything Meter Optimizer Accelerator Engine trainer_fits".split()
)
"""The names of the world, which give way to those of the user's statements."""
