"""Pictures of what was measured: the weight of each item in each optimizer step, and reported against true curves.

`draw(Weights(…), path)` and `draw(Curves(…), path)` write a PNG, an SVG, or an HTML page that holds the SVG; the suffix
of the path says which. Both take plain data, so that nothing here knows of torch, findings or slices. matplotlib is
imported when something is drawn.
"""

from __future__ import annotations

import html
import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".html")
"""What can be written."""

_EXPECTED, _MEASURED, _INK, _FAINT = "#b9c2cc", "#c8402f", "#22272e", "#6b7480"
_LOGARITHMIC_FROM = 30.0
"""Where the two figures lie further apart than this factor, a linear axis would show one of them as nothing."""
_MOST_BARS = 110
_POINTS_PER_INCH, _WIDTH_OF_LETTER, _SHARE_OF_WIDTH, _SHARE_OF_AXES = 72, 0.58, 0.85, 0.75
_WHOLE_FROM = 1000.0
_ROOM_BESIDE_ONE = 2.0
"""How far the axis goes to either side of a single bar."""


class PlotError(Exception):
    """A picture that cannot be drawn; the message is for the user."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One item (a sample or a token) in one optimizer step: the micro-batch it came in, and its weights."""

    batch: int
    expected: float
    measured: float


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of all items, optimizer step by optimizer step; `steps` is not empty.

    `title` says in words what is wrong and by which factor, `subtitle` where and in which world. `total` is what the
    weights of a step must sum to, where there is such a number. `names` are those of the steps, if they are not just
    counted. `axis` says what a bar is.
    """

    title: str
    subtitle: str
    steps: Sequence[Sequence[Bar]]
    total: float | None = 1.0
    quantity: str = "weight in the gradient"
    names: Sequence[str] = ()
    axis: str = "items, by the micro-batch that they came in"


@dataclass(frozen=True, slots=True)
class Curves:
    """A reported figure beside the true one, with their `labels` in the other order; `at`, `reported` and `true` are of
    one length, at least 1."""

    title: str
    subtitle: str
    at: Sequence[float]
    reported: Sequence[float]
    true: Sequence[float]
    axis: str = "optimizer step"
    quantity: str = "loss"
    labels: tuple[str, str] = ("true", "reported")


def check(path: Path) -> None:
    """Raise `PlotError` where `path` cannot be drawn to: an unknown suffix, no such folder, or no matplotlib."""
    if path.suffix.lower() not in SUFFIXES:
        raise PlotError(f"`{path}` must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if not path.absolute().parent.is_dir():
        raise PlotError(f"no such folder: `{path.parent}`")
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise PlotError("drawing needs matplotlib: `pip install 'losslint[plot]'`")


def draw(picture: Weights | Curves, path: Path) -> None:
    """Write the picture; raises `PlotError` where `check` does or the file cannot be written."""
    check(path)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcParams["svg.fonttype"] = "none"
        mpl.rcParams["svg.hashsalt"] = "losslint"
        width = 7.5 if isinstance(picture, Curves) else min(14.0, max(7.5, 1.8 + 0.22 * _places(_visible(picture))))
        figure = Figure(figsize=(width, 4.2), layout="constrained", dpi=150)
        axes = figure.add_subplot()
        if isinstance(picture, Curves):
            _curves(axes, picture)
        else:
            _weights(axes, picture)
        _headlines(figure, picture)
        _frame(axes)
        suffix = path.suffix.lower()
        stream = io.BytesIO()
        metadata = {"Date": None} if suffix != ".png" else None
        figure.savefig(stream, format="png" if suffix == ".png" else "svg", metadata=metadata, facecolor="white")
    data = stream.getvalue()
    if suffix == ".html":
        data = _page(picture, data.decode()).encode()
    try:
        path.write_bytes(data)
    except OSError as error:
        raise PlotError(f"`{path}`: {(error.strerror or 'cannot be written').lower()}") from error


def times(factor: float) -> str:
    """A factor in words: `4× too large`, `4× too small`, `as it should be`, `of the wrong sign`."""
    if factor == 0:
        return "missing"
    if factor < 0:
        return "of the wrong sign"
    if math.isclose(factor, 1.0, rel_tol=1e-3):
        return "as it should be"
    return f"{number(factor)}× too large" if factor > 1 else f"{number(1 / factor)}× too small"


def number(value: float) -> str:
    """A number with at most three digits after its whole part, and no needless ones: `4`, `0.25`, `65536`, `1.33`."""
    if (value == round(value) or abs(value) >= _WHOLE_FROM) and abs(value) < 1e7:
        return f"{value:.0f}"
    return f"{value:.3g}"


def _visible(picture: Weights) -> list[Sequence[Bar]]:
    """As many whole steps as can be told apart, the first always."""
    shown: list[Sequence[Bar]] = []
    for step in picture.steps:
        if shown and _places([*shown, step]) > _MOST_BARS:
            break
        shown.append(step)
    return shown


def _places(steps: Sequence[Sequence[Bar]]) -> int:
    return sum(map(len, steps)) + 2 * (len(steps) - 1)


def _weights(axes: Axes, picture: Weights) -> None:
    steps = _visible(picture)
    logarithmic = _spread([bar.expected for step in steps for bar in step], [bar.measured for s in steps for bar in s])
    largest = max([abs(value) for step in steps for bar in step for value in (bar.expected, bar.measured)], default=1.0)
    ticks: list[tuple[float, str]] = []
    points = _POINTS_PER_INCH * axes.figure.get_figwidth() * _SHARE_OF_AXES  # type: ignore[union-attr]
    room = points / (_places(steps) + 2) / (_WIDTH_OF_LETTER * 9)
    place = 0.0
    for index, step in enumerate(steps):
        at = [place + i for i in range(len(step))]
        labels = ("expected", "measured") if index == 0 else (None, None)
        axes.bar(at, [bar.expected for bar in step], 0.86, color=_EXPECTED, label=labels[0])
        axes.bar(at, [bar.measured for bar in step], 0.46, color=_MEASURED, label=labels[1])
        for batch, group in groupby(zip(at, step, strict=True), key=lambda pair: pair[1].batch):
            members = [x for x, _ in group]
            ticks.append(((members[0] + members[-1]) / 2, str(batch + 1)))
        middle = (at[0] + at[-1]) / 2 if at else place
        axes.annotate(
            _total(step, picture.total, _name(picture, index), room * (len(step) + 2)),
            (middle, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -4),
            textcoords="offset points",
            ha="center",
            va="top",
            color=_INK,
            fontsize=9,
        )
        if index:
            axes.axvline(place - 1.5, color=_EXPECTED, linewidth=0.8, linestyle=(0, (4, 4)))
        place += len(step) + 2
    shown = ticks if picture.axis else []
    axes.set_xticks([x for x, _ in shown], [text for _, text in shown])
    if not picture.axis:
        axes.set_xlim(-_ROOM_BESIDE_ONE, _ROOM_BESIDE_ONE)
    axes.set_xlabel(picture.axis)
    axes.set_ylabel(picture.quantity)
    if logarithmic:
        axes.set_yscale("log")
        axes.minorticks_off()
        low = min(value for step in steps for bar in step for value in (bar.expected, bar.measured)) / 10
        axes.set_ylim(low, largest * (largest / low) ** 0.2)
    else:
        lowest = min([0.0, *(bar.measured for step in steps for bar in step)])
        axes.set_ylim(1.15 * lowest, 1.35 * largest)
        axes.axhline(0, color=_INK, linewidth=0.8)


def _name(picture: Weights, index: int) -> str:
    """What a step is called; nothing is where there are no steps."""
    if picture.names:
        return picture.names[index]
    return f"step {index + 1}" if picture.axis else ""


def _total(step: Sequence[Bar], wanted: float | None, name: str, letters: float) -> str:
    """What stands over a step, in lines of as many letters as there is room for."""
    if wanted is None:
        return name
    measured = sum(bar.measured for bar in step)
    told = f"sum {number(measured)}"
    if math.isclose(measured, wanted, rel_tol=1e-3):
        return f"{name}\n{told}"
    expected = f"should be {number(wanted)}"
    return f"{name}\n{told}{', ' if len(told) + len(expected) + 2 <= letters else ',' + chr(10)}{expected}"


def _curves(axes: Axes, picture: Curves) -> None:
    from matplotlib.ticker import MaxNLocator

    style: dict[str, Any] = {"marker": "o", "markersize": 3.5, "linewidth": 2}
    axes.plot(picture.at, picture.true, color=_FAINT, label=picture.labels[0], **style)
    axes.plot(picture.at, picture.reported, color=_MEASURED, label=picture.labels[1], **style)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(picture.axis)
    axes.set_ylabel(picture.quantity)
    if _spread(picture.true, picture.reported):
        axes.set_yscale("log")
    else:
        values = [0.0, *picture.reported, *picture.true]
        axes.set_ylim(1.12 * min(values), 1.12 * max(*values, 1e-9))


def _spread(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two rows of positive numbers lie so far apart that only a logarithmic axis shows both."""
    if min([*one, *other], default=0.0) <= 0:
        return False
    ratio = max(one) / max(other)
    return max(ratio, 1 / ratio) > _LOGARITHMIC_FROM


def _headlines(figure: Figure, picture: Weights | Curves) -> None:
    axes = figure.axes[0]
    title, subtitle = (_wrapped(text, size, figure) for text, size in ((picture.title, 13), (picture.subtitle, 9)))
    axes.set_title(
        title, loc="left", fontsize=13, fontweight="bold", color=_INK, pad=12 + 12 * len(subtitle.split("\n"))
    )
    axes.annotate(
        subtitle,
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 8),
        textcoords="offset points",
        color=_FAINT,
        fontsize=9,
    )


def _wrapped(text: str, size: float, figure: Figure) -> str:
    """A text in lines that a figure has room for, of letters of a size in points."""
    letters = int(_POINTS_PER_INCH * figure.get_figwidth() * _SHARE_OF_WIDTH / (_WIDTH_OF_LETTER * size))
    return "\n".join(textwrap.wrap(text, letters))


def _frame(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FAINT)
    axes.tick_params(colors=_FAINT, labelsize=8, length=0)
    axes.yaxis.grid(True, color="#e6e9ed", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _page(picture: Weights | Curves, svg: str) -> str:
    """A page with the drawing in it; what stands before `<svg` names a document type that HTML does not take."""
    title = html.escape(picture.title)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
        "<style>body { margin: 2rem auto; max-width: 60rem } svg { width: 100%; height: auto }</style>\n"
        f"{svg[svg.index('<svg') :]}</html>\n"
    )
