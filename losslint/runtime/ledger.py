"""What a run in the tiny world showed: which item entered which optimizer step and which figure, and how much.

Torch-free: these are the types that the worker sends, the picture is drawn from and the script is written from.
"""

from __future__ import annotations

from dataclasses import dataclass, field

UNEVEN_LAST = 3
"""Items in the last batch of a pass where batches are to differ in size."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The tiny world's numbers: `window` micro-batches per step (`k`), `batches` per pass (`M`), `batch_size` items in
    a batch (`B`), `last_batch` items in the last batch of a pass, `epochs` passes."""

    window: int
    batches: int
    batch_size: int
    last_batch: int
    epochs: int = 2


@dataclass(frozen=True, slots=True)
class BatchUse:
    """What one micro-batch contributes to one step. `batch` counts the batches that were drawn in the run, from 0;
    `passage` and `place` say in which pass over the loader and where in it. `weights` holds one weight per item:
    the derivative of the stepped gradient by that item's loss."""

    batch: int
    passage: int
    place: int
    weights: tuple[float, ...]

    @property
    def total(self) -> float:
        """The weight of the whole micro-batch."""
        return sum(self.weights)


@dataclass(frozen=True, slots=True)
class StepRow:
    """One optimizer step. `fresh` are the micro-batches whose backward ran since the step before, `stale` those of
    earlier windows that are still in the gradient; `lost` were backpropagated in this window and zeroed before the
    step. `line` is 1-based and may lie in another file (then 0)."""

    optimizer: str
    line: int
    through_scaler: bool
    fresh: tuple[BatchUse, ...]
    stale: tuple[BatchUse, ...]
    lost: tuple[int, ...]
    at: int

    @property
    def total(self) -> float:
        """The weight of all fresh items together: 1 where the step is a mean."""
        return sum(use.total for use in self.fresh)


@dataclass(frozen=True, slots=True)
class FigureRow:
    """One figure that the user's code showed, stored or returned: its values in the order in which they appeared, and
    after how many drawn batches each one did."""

    line: int
    column: int
    sink: str
    text: str
    values: tuple[float, ...]
    at: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """Something else that happened, in the order of happening: `backward`, `gradient` (what a backward added to it),
    `dead` (a backward that added nothing), `zero`, `clip`, `unscale`, `update`, `schedule`, `step`. `value` is the
    scale of the gradient at a clip, the loss at a backward; `at` the batch that was drawn last."""

    kind: str
    line: int
    at: int
    value: float = 1.0


@dataclass(slots=True)
class Ledger:
    """All that one run showed. `taints` say why the scales of gradients cannot be trusted, `blurs` which losses went
    through what is not known, be they backpropagated or not; `gaps` say which statements could not be run, `assumes`
    what was put in a real object's place, `decisions` how unknown conditions were decided (place -> taken).
    `first_pass` counts the batches drawn before a second pass began, `trained` are the batches that a backward ran for,
    `passed` the lines in question that ran, `graphs` the most graphs of past batches that were alive at once, `changed`
    the value of a loss over what it was when it was made, where another name changed it.
    """

    shape: Shape
    steps: list[StepRow] = field(default_factory=list)
    figures: list[FigureRow] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    taints: list[str] = field(default_factory=list)
    blurs: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    assumes: list[str] = field(default_factory=list)
    decisions: dict[int, bool] = field(default_factory=dict)
    backwards: int = 0
    first_pass: int = 0
    graphs: int = 0
    passed: set[int] = field(default_factory=set)
    changed: float = 1.0
    trained: set[int] = field(default_factory=set)
    closures: int = 0
    reductions: set[str] = field(default_factory=set)
    optimizers: int = 0
    failure: str = ""

    @property
    def doubts(self) -> list[str]:
        """Why the scales of figures cannot be trusted."""
        return list(dict.fromkeys([*self.taints, *self.blurs]))


@dataclass(frozen=True, slots=True)
class StepBars:
    """One optimizer step in a picture: for each item that was drawn for it, the weight that it had and should have.

    `items` names them as `(batch, item)`, both from 0; a weight of 0 is an item that the step does not see."""

    title: str
    items: tuple[tuple[int, int], ...]
    measured: tuple[float, ...]
    expected: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """A reported figure beside the true mean loss of what it speaks of, point by point."""

    label: str
    line: int
    reported: tuple[float, ...]
    true: tuple[float, ...]


Place = tuple[int, int]
"""A line and a column, both from 1."""


OVER_PLAIN, OVER_BATCHES, OVER_DRAWS, OVER_ROUNDS = "plain", "batches", "draws", "rounds"
"""What a loop ran over: what the code says, batches, rounds that draw a batch each, or as many as the world gave it."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What a run showed of the code: how each condition came out (`outcomes`), how often each loop ran and over what
    (`rounds`), what names got (`bound`) and where that is a loss that the code does not make itself
    (`forced`), and the statements that could not be run (`skipped`). `arguments`, `attributes` and `names` are what the
    entry was called with, its object (of the class `owner`) and the file's own names held. Values are in the words of
    the script, empty where it has none for them."""

    outcomes: dict[Place, tuple[bool, ...]]
    rounds: dict[Place, tuple[int, str]]
    bound: dict[Place, str]
    forced: frozenset[Place]
    skipped: frozenset[Place]
    owner: str
    arguments: dict[str, str]
    attributes: dict[str, str]
    names: dict[str, str]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The user's own statements that a script needs to show the bug: definitions in `source`, which run once the names
    in `stubs` are bound to what stands for them, and in `body` what the script's main function does."""

    source: str
    body: str
    stubs: dict[str, str]
    imports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """What a script did: what it printed, the lines of the functions of its own that were called, and where it broke,
    the error and the lines that led to it."""

    printed: str
    called: tuple[int, ...]
    error: str = ""
    lines: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Portrait:
    """All that a picture or a script of one finding needs. `curve` only where a figure is reported; `uncut` says why
    there is no `excerpt`."""

    shape: Shape
    measured: float | None
    predicted: float | None
    quantity: str
    steps: tuple[StepBars, ...]
    curve: Curve | None
    excerpt: Excerpt | None
    assumes: tuple[str, ...]
    uncut: str = ""
