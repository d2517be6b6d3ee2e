"""Names written into a figure, beside what they name, clear of each other and of what is drawn.

The paper is transparent, so a name has no halo that would suit both modes: it goes where nothing
is drawn, and a thin line leads back where that is not beside the thing itself. Placing reads the
limits and the size of the axes, so call these functions last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

GAP, LEAD, SAMPLE = 5.0, 16.0, 18.0  # points: to a name, to one that was moved, of a dash shown
MARK, LINE, ERROR = 3.0, 1.0, 0.4  # how bad it is to write over a pixel of each


def label_lines(ax: Axes, fontsize: float = 10) -> Axes:
    """Write the name of each labelled line at its right end, in its colour, and drop the legend.

    Names stay apart, inside the height of the axes and off other lines; a thin line leads to a
    name that had to move. Where lines share a colour, a piece of its dash stands before the name.
    """
    if legend := ax.get_legend():
        legend.remove()
    box, point = _settled(ax)
    ends: list[tuple[float, float, Line2D]] = []
    for line in ax.get_lines():
        path = _path(line)
        if len(path) and not str(line.get_label()).startswith("_"):
            x, y = path[path[:, 0].argmax()]
            ends.append((float(x), float(np.clip(y, *box[:, 1])), line))
    colours = [line.get_color() for *_, line in ends]
    columns: list[list[tuple[float, float, Line2D]]] = []  # names close enough to overlap
    for end in sorted(ends, key=lambda end: end[0]):
        before = columns[-1][-1] if columns else None
        width = 0.7 * fontsize * point * len(str(before[2].get_label())) if before else 0.0
        if before and end[0] - before[0] < width:
            columns[-1].append(end)
        else:
            columns.append([end])
    drawn = {line: _dense(_path(line)) for line in ax.get_lines()}
    for column in columns:
        samples = [SAMPLE + GAP if colours.count(e[2].get_color()) > 1 else 0.0 for e in column]
        # Of several names the upper ones rather rise, the lower ones rather fall.
        rank = np.argsort(np.argsort([y for _, y, _ in column], kind="stable"), kind="stable")
        sides = np.sign(2 * rank + 1 - len(column))
        wanted = [
            _clear(end, GAP + sample, fontsize, point, drawn, box, side)
            for end, sample, side in zip(column, samples, sides, strict=True)
        ]
        step, half = 1.3 * fontsize * point, 0.6 * fontsize * point
        order = np.lexsort((wanted, [y for _, y, _ in column]))  # as the lines end, from below
        low, high = box[0, 1] + half, box[1, 1] - half
        heights = np.empty(len(column))
        heights[order] = _apart(np.asarray(wanted)[order], step, low, high)
        ends_at = np.array([y for _, y, _ in column])
        moved = np.abs(heights - ends_at) > 0.65 * fontsize * point
        # Names that stand close together are treated alike.
        group = np.empty(len(column), dtype=int)
        group[order] = np.cumsum(np.diff(heights[order], prepend=heights[order[0]]) > 1.3 * step)
        for i in order:
            leads = bool(moved[group == group[i]].any())
            up = (heights[i] - ends_at[i]) / point
            _name(ax, column[i], box, up, samples[i], leads=leads, fontsize=fontsize)
    return ax


def label_points(
    ax: Axes,
    names: Sequence[str],
    points: ArrayLike,
    colours: Sequence[str],
    fontsize: float = 9,
) -> Axes:
    """Write a name beside each point ``(n, 2)``, where it covers least of what is drawn.

    A thin line leads from the point to a name that does not stand right beside it.
    """
    box, point = _settled(ax)
    places = ax.transData.transform(np.asarray(points, dtype=float).reshape(-1, 2))
    ink, weight = _drawn(ax)
    texts = [ax.text(0, 0, name, fontsize=fontsize) for name in names]
    sizes = np.array([t.get_window_extent().size for t in texts]).reshape(-1, 2) + 2
    for text in texts:
        text.remove()
    turns = np.deg2rad(np.arange(0, 360, 22.5))
    ways = np.stack([np.cos(turns), np.sin(turns)], 1)
    gaps = np.array([GAP, 9.0, 14.0, 20.0, 28.0, 38.0, 50.0]) * point
    far = np.repeat(gaps, len(ways))
    chosen: list[Any] = [None] * len(names)
    for _ in range(3):  # each again, now that the others stand
        for i, (place, size) in enumerate(zip(places, sizes, strict=True)):
            middles = place + np.concatenate([ways * (gap + size / 2) for gap in gaps])
            costs = far / point / 4
            others = [c for j, c in enumerate(chosen) if c is not None and j != i]
            for k, middle in enumerate(middles):
                costs[k] += _cost(middle, size, place, ink, weight, others, box)
            best = int(np.argmin(costs))
            chosen[i] = (middles[best], size, place, bool(far[best] > 6 * point))
    for name, colour, (middle, _, place, leads) in zip(names, colours, chosen, strict=True):
        lead = {"arrowstyle": "-", "color": colour, "lw": 0.7, "shrinkA": 0, "shrinkB": 3}
        ax.annotate(
            name,
            ax.transData.inverted().transform(place),
            xytext=tuple((middle - place) / point),
            textcoords="offset points",
            color=colour,
            fontsize=fontsize,
            ha="center",
            va="center",
            arrowprops=lead if leads else None,
            annotation_clip=False,
        )
    return ax


def _settled(ax: Axes) -> tuple[NDArray[np.float64], float]:
    """Corners of the axes in pixels ``(2, 2)`` once the figure is laid out; pixels of a point."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    return np.asarray(ax.get_window_extent().get_points()), figure.dpi / 72


def _path(line: Line2D) -> NDArray[np.float64]:
    """Where a line runs, in pixels ``(n, 2)``; without its gaps."""
    data = np.column_stack(line.get_data()).astype(float)
    path = np.asarray(line.get_transform().transform(data), dtype=float)
    return path[np.isfinite(path).all(axis=1)]


def _dense(path: NDArray[np.float64], step: float = 2.0) -> NDArray[np.float64]:
    """A path with a point every few pixels."""
    if len(path) < 2:
        return path
    length = np.concatenate([[0], np.hypot(*np.diff(path, axis=0).T).cumsum()])
    at = np.linspace(0, length[-1], min(4000, int(length[-1] / step) + 2))
    return np.stack([np.interp(at, length, side) for side in path.T], 1)


def _clear(
    end: tuple[float, float, Line2D],
    gap: float,
    fontsize: float,
    point: float,
    drawn: dict[Line2D, NDArray[np.float64]],
    box: NDArray[np.float64],
    side: int,
) -> float:
    """The height nearest to the end of a line at which its name lies on no other line."""
    x, y, line = end
    left, half = x + gap * point, 0.6 * fontsize * point
    right = left + 0.6 * fontsize * point * len(str(line.get_label()))
    there = [path[(path[:, 0] > left) & (path[:, 0] < right), 1] for path in drawn.values()]
    taken = np.concatenate([*there, box[:1, 1]])  # and not on the edge
    shifts = np.arange(0, 4 * half, 0.25 * half)
    both = np.concatenate([shifts, -shifts])
    far = np.abs(both) * np.where(both * side < 0, 2, 1)
    for shift in both[np.argsort(far, kind="stable")]:
        inside = box[0, 1] + half <= y + shift <= box[1, 1] - half
        if inside and (np.abs(taken - y - shift) >= 0.9 * half).all():
            return float(y + shift)
    return y


def _name(
    ax: Axes,
    end: tuple[float, float, Line2D],
    box: NDArray[np.float64],
    up: float,
    sample: float,
    *,
    leads: bool,
    fontsize: float,
) -> None:
    """Writes one name so many points to the right of the end of its line, and above it."""
    x, y, line = end
    gap = LEAD if leads else GAP
    place = tuple((np.array([x, y]) - box[0]) / (box[1] - box[0]))
    ax.annotate(
        str(line.get_label()),
        place,
        xycoords="axes fraction",
        xytext=(gap + sample, up),
        textcoords="offset points",
        color=line.get_color(),
        fontsize=fontsize,
        va="center",
        annotation_clip=False,
    )
    figure = ax.get_figure(root=True)
    assert figure is not None
    there = figure.dpi_scale_trans + ScaledTranslation(*place, ax.transAxes)
    pieces = []
    if sample:
        piece = Line2D(np.array([gap, gap + SAMPLE]) / 72, np.array([up, up]) / 72)
        piece.update_from(line)
        pieces.append(piece)
    if leads:
        ends = np.array([[1, gap - 1], [0, up]]) / 72
        pieces.append(Line2D(*ends, color=line.get_color(), linewidth=0.8, linestyle="-"))
    for piece in pieces:
        piece.set(transform=there, label="_", marker="", clip_on=False)
        ax.add_artist(piece)


def _drawn(ax: Axes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixels ``(n, 2)`` of marks, lines and error bars, and how bad it is to write over each."""
    pixels, weights = [np.empty((0, 2))], [np.empty(0)]

    def add(points: NDArray[np.float64], weight: float) -> None:
        pixels.append(points)
        weights.append(np.full(len(points), weight))

    for line in ax.get_lines():
        add(_dense(_path(line)), LINE)
    for collection in ax.collections:
        if isinstance(collection, PathCollection):
            at = collection.get_offset_transform().transform(np.asarray(collection.get_offsets()))
            wide = np.sqrt(float(np.max(collection.get_sizes(), initial=0))) / 2
            for way in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)):
                add(np.asarray(at) + wide * np.array(way), MARK)
        elif isinstance(collection, LineCollection):
            for part in collection.get_segments():
                add(_dense(collection.get_transform().transform(part)), ERROR)
    return np.concatenate(pixels), np.concatenate(weights)


def _cost(
    middle: NDArray[np.float64],
    size: NDArray[np.float64],
    place: NDArray[np.float64],
    ink: NDArray[np.float64],
    weight: NDArray[np.float64],
    others: Sequence[Any],
    box: NDArray[np.float64],
) -> float:
    """What a name covers and what its leader crosses."""
    half = size / 2
    cost = float(weight[(np.abs(ink - middle) < half).all(1)].sum())
    cost += 5 * float(np.maximum(box[0] - (middle - half), 0).sum())
    cost += 5 * float(np.maximum(middle + half - box[1], 0).sum())
    lead = place + np.linspace(0, 1, 12)[:, None] * (middle - place)
    marks = ink[weight == MARK]
    marks = marks[np.hypot(*(marks - place).T) > 6]
    over = np.hypot(*(marks[:, None] - lead[None, 1:]).T) < 3
    cost += 5 * float(over.any(0).sum())
    for where, other, start, _ in others:
        near = (half + other / 2 - np.abs(middle - where)).clip(0)
        cost += 200 * float(near.prod() > 0)
        cost += 20 * float((np.abs(lead - where) < other / 2).all(1).any())
        along = start + np.linspace(0, 1, 12)[:, None] * (where - start)
        cost += 20 * float((np.abs(along - middle) < half).all(1).any())
        cost += 4 * float((np.hypot(*(lead[4:, None] - along[None, 4:]).T) < 4).any())
    return cost


def _apart(
    heights: NDArray[np.float64], step: float, low: float, high: float
) -> NDArray[np.float64]:
    """Ascending heights, moved as little as needed to be a step apart, from ``low`` to ``high``."""
    shifts = step * np.arange(len(heights))
    blocks: list[tuple[float, int]] = []  # pool adjacent violators: mean, size
    for value in np.asarray(heights) - shifts:
        mean, size = float(value), 1
        while blocks and blocks[-1][0] > mean:
            before, count = blocks.pop()
            mean, size = (before * count + mean * size) / (count + size), count + size
        blocks.append((mean, size))
    pooled = np.repeat([mean for mean, _ in blocks], [size for _, size in blocks])
    return pooled.clip(low, max(low, high - shifts[-1])) + shifts
