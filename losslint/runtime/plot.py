"""Pictures of what was measured: the weight of each item in each optimizer step, and reported against true curves.

`draw(Weights(…), path)` and `draw(Curves(…), path)` write a PNG, an SVG, or an HTML page that holds the SVG; the suffix
of the path says which. Both take plain data, so that nothing here knows of torch, findings or slices. matplotlib is
imported when something is drawn.
"""

from __future__ import annotations

import html
import io
import math
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
    """A reported figure beside the true one; `at`, `reported` and `true` are of one length, at least 1."""

    title: str
    subtitle: str
    at: Sequence[float]
    reported: Sequence[float]
    true: Sequence[float]
    axis: str = "optimizer step"
    quantity: str = "loss"


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
    """A number with at most three digits that matter, and no needless ones: `4`, `0.25`, `65536`, `1.33`."""
    if value == round(value) and abs(value) < 1e7:
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
            _total(step, picture.total, picture.names[index] if picture.names else f"step {index + 1}"),
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
    axes.set_xticks([x for x, _ in ticks], [text for _, text in ticks])
    axes.set_xlabel(picture.axis)
    axes.set_ylabel(picture.quantity)
    if logarithmic:
        axes.set_yscale("log")
        axes.minorticks_off()
        low = min(value for step in steps for bar in step for value in (bar.expected, bar.measured)) / 10
        axes.set_ylim(low, largest * (largest / low) ** 0.2)
    else:
        lowest = min([0.0, *(bar.measured for step in steps for bar in step)])
        axes.set_ylim(1.15 * lowest, 1.3 * largest)
        axes.axhline(0, color=_INK, linewidth=0.8)


def _total(step: Sequence[Bar], wanted: float | None, name: str) -> str:
    if wanted is None:
        return name
    measured = sum(bar.measured for bar in step)
    expected = f", should be {number(wanted)}" if not math.isclose(measured, wanted, rel_tol=1e-3) else ""
    return f"{name}\nsum {number(measured)}{expected}"


def _curves(axes: Axes, picture: Curves) -> None:
    from matplotlib.ticker import MaxNLocator

    style: dict[str, Any] = {"marker": "o", "markersize": 3.5, "linewidth": 2}
    axes.plot(picture.at, picture.true, color=_FAINT, label="true", **style)
    axes.plot(picture.at, picture.reported, color=_MEASURED, label="reported", **style)
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
    axes.set_title(picture.title, loc="left", fontsize=13, fontweight="bold", color=_INK, pad=24)
    axes.annotate(
        picture.subtitle,
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 8),
        textcoords="offset points",
        color=_FAINT,
        fontsize=9,
    )


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
