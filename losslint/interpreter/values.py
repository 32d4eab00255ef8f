"""What an expression of the interpreted program can be.

Plain Python values stand for themselves (None, bool, str, list, tuple, dict, counters as int or Fraction). The rest:

- `Number`: a number that means something (a literal, the window, a batch size, a length),
- `Unknown`: a value that is not followed, with the path by which it was reached,
- `Tensor`: a tensor whose content is not followed: what a batch, a model or an opaque call gives,
- `Linear`: a linear form over the losses of batches: the weight of every loss in this value,
- `Loader`, `Instance`, `Closure`, `ClassValue`, `ModuleValue`, `Method`, `Thing`: objects.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from losslint.lowering import ir

Exact: TypeAlias = int | Fraction
Key: TypeAlias = str | tuple[Any, ...]

# what a number is made of, as bits
WINDOW, BATCH, BATCHES, SAMPLES, LOG, AMP, PROCESSES, TOKENS, LITERAL, COUNT, KEYS = (1 << bit for bit in range(11))

# how a block of statements ended
NEXT, BREAK, CONTINUE, RETURN, RAISE = range(5)

# graph state of a loss
FLOAT, DETACHED, GRAPH = 0, 1, 2

BATCH_TRAITS = frozenset({"batch"})
"""The traits of what a loader gives."""
CONSTANT = "constant"
"""The trait of a tensor of numbers that nobody learns: zeros, ones, noise."""
AHEAD = "ahead"
"""The trait of tokens without the first one of each sequence."""
MISSING = object()
"""What stands for a name that nothing defines, and for an attribute that nothing has set."""

_LONGEST = 160
_MOST_PARTS = 24


class Number:
    """A number with a meaning. `value` is what branches see, `coded` what it contributes to a weight: a literal that
    the loop does not explain is a prime there. `key` names a static number (the same key is the same number); `of` is
    the loader, by path, that a length belongs to."""

    __slots__ = ("coded", "key", "kinds", "of", "value")

    def __init__(
        self, value: Exact, kinds: int = 0, key: Key | None = None, of: str = "", coded: Exact | None = None
    ) -> None:
        self.value = value
        self.kinds = kinds
        self.key = key
        self.of = of
        self.coded = value if coded is None else coded


class Unknown:
    """A value that is not followed. `varies`: it may change from step to step. `tainted`: a loss went into it.
    `condition` is the atom of a comparison, so that two spellings of one test are decided alike; `likely` is what a
    condition that varies is on an ordinary step; `kinds` is what the numbers count that went into it."""

    __slots__ = ("condition", "kinds", "likely", "path", "tainted", "varies")

    def __init__(
        self,
        path: str,
        varies: bool = False,
        tainted: bool = False,
        condition: tuple[Key, bool] | None = None,
        likely: bool = False,
    ) -> None:
        # a path is a name: one that grows with every operation is cut, and stays the same name for the same growth
        self.path = path if len(path) <= _LONGEST else f"{path[: _LONGEST // 2]}…{zlib.crc32(path.encode()):08x}"
        self.varies = varies
        self.tainted = tainted
        self.condition = condition
        self.likely = likely
        self.kinds = 0


class Site:
    """A place that produces a loss (or another figure of a batch).

    `reduction` is `mean`, `sum`, `none` or None where it is not known. `evidence` that it is a loss at all:
    0 none, 1 by name, 2 called like a criterion, 3 a known loss function. `assumption` is what was taken for granted;
    `visits` are those in which it gave one.
    """

    __slots__ = ("assumption", "evidence", "node", "reduction", "traits", "visits")

    def __init__(self, node: ir.Node, reduction: str | None, evidence: int, assumption: str) -> None:
        self.node = node
        self.reduction = reduction
        self.evidence = evidence
        self.assumption = assumption
        self.traits: frozenset[str] = frozenset()
        self.visits: set[int] = set()


Atom: TypeAlias = tuple[Site, int]
"""The loss of one visit: (where it is made, which visit)."""


class Cut(NamedTuple):
    """The place where a value left the graph. `kind` is what took it out of it: `item`, `detach`, `argmax`, `no_grad`,
    `rewrapped` (a new leaf) …; `order` counts the cuts of a run."""

    kind: str
    node: ir.Node
    order: int


Note: TypeAlias = str | Cut
"""An assumption that was made about a loss, or where it left the graph."""


class Step(NamedTuple):
    """One line of provenance: at `node` the value became `weights`, by `verb` with `operand`. `entry` is the call of
    the batch loop that handed a loss to the function in which this happened: a meter's `update(loss)`."""

    node: ir.Node
    verb: str
    operand: ir.Node | None
    kinds: int
    weights: dict[Atom, Exact]
    guards: tuple[ir.If, ...]
    of: str
    entry: ir.Node | None = None


class Storage:
    """The memory of a tensor, shared by its aliases: in-place arithmetic is seen by all of them."""

    __slots__ = ("in_graph", "steps", "weights")

    def __init__(self, weights: dict[Atom, Exact], steps: tuple[Step, ...], in_graph: bool) -> None:
        self.weights = weights
        self.steps = steps
        self.in_graph = in_graph


class Linear:
    """A linear form over the losses of batches. `vector`: one entry per sample (reduction none).
    `notes` are the assumptions made on the way,
    and the places where it left the graph."""

    __slots__ = ("notes", "state", "storage", "vector")

    def __init__(
        self,
        weights: dict[Atom, Exact],
        steps: tuple[Step, ...],
        state: int,
        vector: bool = False,
        notes: frozenset[Note] = frozenset(),
    ) -> None:
        self.storage = Storage(weights, steps, state == GRAPH)
        self.state = state
        self.vector = vector
        self.notes = notes

    @property
    def weights(self) -> dict[Atom, Exact]:
        """The weight of each loss; never changed in place, always replaced."""
        return self.storage.weights

    @property
    def steps(self) -> tuple[Step, ...]:
        """Where the weights came about, oldest first."""
        return self.storage.steps

    def alias(self, state: int, *notes: Note) -> Linear:
        """Another handle of the same memory, in another graph state; `notes` are added to what is known of it."""
        other = Linear.__new__(Linear)
        other.storage = self.storage
        other.state = state
        other.vector = self.vector
        other.notes = self.notes | frozenset(notes)
        return other


class Output(NamedTuple):
    """What is known of how a tensor's entries came about: by which function last, and where.

    `function` is `linear` (raw scores of a layer with weights), an activation such as `softmax`, a function without a
    gradient such as `argmax`, or an empty string where only the `model` that gave the tensor is known; `features` is
    the size of the last dimension where a literal gives it; `shape` as in `Tensor`; `dimension` is the one that the
    function runs over; `outside`: the function is applied to what the model gave, not in the model; `parts` is what is
    known of each of several tensors that a model gives.
    """

    function: str
    node: ir.Node
    features: int | None = None
    model: str = ""
    shape: str = ""
    dimension: int | None = None
    outside: bool = False
    parts: tuple[Output | None, ...] = ()


class Tensor:
    """A tensor that is not followed. `node` made it in `visit`; `reduction` says how its scalar came about;
    `traits`: `mask` (a comparison's result), `masked`, `nonlinear`, `batch`, `scaler`, `exp`; `output` says how its
    entries came about, where that is known; `shape` is `column` (one entry a sample, in a dimension of its own) or
    `flat` (one a sample, without it); `cut` is where it left the graph, where that is known."""

    __slots__ = ("cut", "evidence", "node", "output", "reduction", "shape", "state", "traits", "visit")

    def __init__(
        self,
        node: ir.Node,
        visit: int,
        state: int = GRAPH,
        reduction: str | None = None,
        evidence: int = 0,
        traits: frozenset[str] = frozenset(),
    ) -> None:
        self.node = node
        self.visit = visit
        self.state = state
        self.reduction = reduction
        self.evidence = evidence
        self.traits = traits
        self.output: Output | None = None
        self.shape = ""
        self.cut: Cut | None = None


class Loader:
    """Something that gives batches (or the samples behind them, where `dataset`).

    `source` is the path of the dataset that a loader walks; `part_of` that of the set which a dataset is a part of;
    `sampled`: its sampler leaves samples out; `single`: its batches hold one sample; `named`: its path is a name of the
    user's; `limit`: only so many batches are taken; `rows`: samples, `count`: batches, where constants say how many;
    `sampler`: the sampler object that the user has to tell the epoch.
    """

    __slots__ = (
        "assumed",
        "batch_size",
        "count",
        "dataset",
        "drop_last",
        "limit",
        "named",
        "part_of",
        "path",
        "rows",
        "sampled",
        "sampler",
        "single",
        "source",
    )

    def __init__(self, path: str, dataset: bool = False, assumed: bool = False) -> None:
        self.path = path
        self.dataset = dataset
        self.assumed = assumed
        self.drop_last = False
        self.sampled = False
        self.single = False
        self.named = True
        self.source = ""
        self.part_of = ""
        self.batch_size: Any = None
        self.limit: Any = None
        self.rows: int | None = None
        self.count: int | None = None
        self.sampler: Thing | None = None


class Iteration:
    """`enumerate`, `zip`, `tqdm` … over something: `wrap` makes the item out of (position, inner item)."""

    __slots__ = ("inner", "wrap")

    def __init__(self, inner: Any, wrap: Callable[[int, Any], Any]) -> None:
        self.inner = inner
        self.wrap = wrap


class RangeValue:
    """`range(…)`, its arguments as values; the last one is None where it has no end."""

    __slots__ = ("arguments", "node")

    def __init__(self, arguments: tuple[Any, ...], node: ir.Node) -> None:
        self.arguments = arguments
        self.node = node


class Chunks:
    """A batch cut into micro-batches; `key` names how many."""

    __slots__ = ("key",)

    def __init__(self, key: Key) -> None:
        self.key = key


class Closure:
    """A function of the project with the scope it was defined in, and the object it is bound to."""

    __slots__ = ("function", "owner", "receiver", "scope")

    def __init__(
        self, function: ir.Function, scope: Scope, receiver: Any = None, owner: ClassValue | None = None
    ) -> None:
        self.function = function
        self.scope = scope
        self.receiver = receiver
        self.owner = owner


class Scope:
    """The names of one call, one module or one class body."""

    __slots__ = ("borrowed", "globals", "module", "names", "outer")

    def __init__(self, names: dict[str, Any], outer: Scope | None, module: ModuleScope | None) -> None:
        self.names = names
        self.borrowed: dict[str, Scope] = {}
        self.outer = outer
        self.module = module
        self.globals: set[str] = set()


class ModuleScope(Scope):
    """The names of a module, and the module itself."""

    __slots__ = ("ir",)

    def __init__(self, module: ir.Module) -> None:
        super().__init__({}, None, self)
        self.ir = module


class ClassValue:
    """A class of the project. `bases` are class values or unknown ones (`ModuleValue`, `Unknown`)."""

    __slots__ = ("attributes", "bases", "definition", "methods", "scope")

    def __init__(self, definition: ir.Class, scope: Scope, bases: tuple[Any, ...]) -> None:
        self.definition = definition
        self.scope = scope
        self.bases = bases
        self.methods: dict[str, ir.Function] = {}
        self.attributes: dict[str, Any] = {}


class Instance:
    """An object of a project class."""

    __slots__ = ("attributes", "cls", "path")

    def __init__(self, cls: ClassValue, path: str) -> None:
        self.cls = cls
        self.path = path
        self.attributes: dict[str, Any] = {}


class ModuleValue:
    """Something of a library, by its dotted path: `torch.nn.functional.cross_entropy`."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path


class Imported:
    """A name bound by an import of the user's project, not looked up yet."""

    __slots__ = ("level", "module", "name")

    def __init__(self, module: str, level: int, name: str | None) -> None:
        self.module = module
        self.level = level
        self.name = name


class Text:
    """A string that was formatted from values."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Any, ...]) -> None:
        flat: list[Any] = []
        for part in parts:
            flat.extend(part.parts if isinstance(part, Text) else (part,))
        self.parts: tuple[Any, ...] = tuple(flat[:_MOST_PARTS])


class Bag(dict[Any, Any]):
    """A defaultdict; `default` makes the missing value."""

    default: Any = None


class Method:
    """An attribute of a value that is not a project object: called, it is a contract."""

    __slots__ = ("name", "receiver")

    def __init__(self, receiver: Any, name: str) -> None:
        self.receiver = receiver
        self.name = name


@dataclass(slots=True, eq=False)
class Thing:
    """An object that a contract speaks of: `kind` is `criterion`, `optimizer`, `scheduler`, `scaler`, `accelerator`,
    `fabric`, `engine`, `meter`, `namespace`, `context`, `shape`, `model`, `parameters`, `report`."""

    kind: str
    path: str
    data: dict[str, Any]


def key_of(value: Any) -> Any:
    """A value as a dict key: constants as themselves, anything else by its path."""
    if isinstance(value, (str, int, bool, type(None))):
        return value
    if isinstance(value, Number):
        return value.value
    if isinstance(value, Text):
        return ("text", literal_text(value))
    return ("path", str(getattr(value, "path", type(value).__name__)))


def literal_text(value: Any) -> str:
    """The literal parts of a text."""
    if isinstance(value, Text):
        return " ".join(literal_text(part) for part in value.parts)
    return value if isinstance(value, str) else ""
