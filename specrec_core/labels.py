"""Names written into a figure, beside what they name, clear of each other and of what is drawn.

The paper is transparent, so a name has no halo that would suit both modes: it goes where nothing
is drawn, and a thin line leads back where that is not beside the thing itself. Placing reads the
limits and the size of the axes, so call these functions last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

GAP, LEAD, SAMPLE = 5.0, 16.0, 18.0  # points: to a name, to one that was moved, of a dash shown
ROUNDS = 500  # of adjustText, whose own limit is of time and would not give the same again


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
) -> None:
    """Write a name near each point ``(n, 2)``, off other names and what is drawn (adjustText).

    A thin line leads from a point to a name that had to move.
    """
    _settled(ax)
    at = np.asarray(points, dtype=float).reshape(-1, 2)
    texts = [
        ax.text(x, y, name, color=colour, fontsize=fontsize, ha="center", va="center")
        for (x, y), name, colour in zip(at, names, colours, strict=True)
    ]
    taken = ax.transData.inverted().transform(_drawn(ax))
    adjust_text(
        texts, *taken.T, target_x=at[:, 0], target_y=at[:, 1], ax=ax, iter_lim=ROUNDS,
        expand=(1.1, 1.3), arrowprops={"arrowstyle": "-", "color": "0.45", "lw": 0.7},
    )  # fmt: skip


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
    place = (x - box[0, 0]) / (box[1, 0] - box[0, 0]), (y - box[0, 1]) / (box[1, 1] - box[0, 1])
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
    there = figure.dpi_scale_trans + ScaledTranslation(*place, ax.transAxes)  # type: ignore[arg-type]
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


def _drawn(ax: Axes) -> NDArray[np.float64]:
    """Pixels ``(n, 2)`` on marks and lines, some of them."""
    pixels = [_dense(_path(line), 8.0) for line in ax.get_lines()]
    for collection in ax.collections:
        if isinstance(collection, PathCollection):
            move = collection.get_offset_transform()
            pixels.append(np.asarray(move.transform(np.asarray(collection.get_offsets()))))
    return np.concatenate([np.empty((0, 2)), *pixels])


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
