"""A scatter of the plane or of space as a still picture, on transparent paper.

It is what paper shows of a view (see ``views``), and a page until the view is drawn. The camera is
that of plotly.js: a lens of 45°, and a ball around all points that fits into it however it turns.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from specrec_core.view_groups import Layer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

WIDTH, HEIGHT = 700, 490  # pixels of the page
SHARP = 1.5  # pixels of the picture for one of the page
LENS = np.tan(np.pi / 8)  # of half the angle of view
DISTANCE = 2.2  # of the eye from the middle of the box
RADIUS = 0.8  # of the ball; at most DISTANCE · sin(π / 8)
MARKERS = {"circle": "o", "diamond": "D", "square": "s", "cross": "P", "diamond-open": "D"}


@dataclass(frozen=True, eq=False)
class Picture:
    """What is drawn; ``rows`` are the points of each layer, ``box`` the limits ``(f, 2)``,
    ``reach`` the radius of the ball."""

    points: NDArray[np.float64]
    layers: Sequence[Layer]
    rows: Sequence[NDArray[np.int64]]
    colours: NDArray[np.str_] | None
    sizes: NDArray[np.float64] | None
    lines: Sequence[NDArray[np.float64]]
    box: NDArray[np.float64]
    reach: float
    axes: Sequence[str]
    camera: tuple[float, float]
    ink: str
    equal: bool
    origin: bool
    ticks: bool


def png(picture: Picture) -> bytes:
    """The picture as PNG with as many colours as it needs, without a date."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    with style.context("default"):  # whatever style the caller draws in
        figure = Figure((WIDTH / 100, HEIGHT / 100), dpi=100 * SHARP, facecolor="none")
        canvas = FigureCanvasAgg(figure)
        ticks = picture.ticks
        ax = figure.add_axes((0.09, 0.12, 0.89, 0.86) if ticks else (0.01, 0.01, 0.98, 0.98))
        ax.set_facecolor("none")
        (_space if picture.points.shape[1] == 3 else _plane)(ax, picture)
        canvas.draw()
        image = Image.fromarray(np.asarray(canvas.buffer_rgba()))
    out = io.BytesIO()
    # 64 colours of a picture whose opacity is kept apart from them.
    image.quantize(64, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
        out, "PNG", optimize=True
    )
    return out.getvalue()


def projected(
    points: NDArray[np.float64],
    box: NDArray[np.float64],
    reach: float,
    camera: tuple[float, float],
) -> NDArray[np.float64]:
    """Right, up and depth ``(n, 3)``; one unit is half the height of the picture.

    ``camera``: azimuth and elevation of the eye in degrees.
    """
    placed = (points - box.mean(axis=1)) * (RADIUS / reach)
    azimuth, elevation = np.deg2rad(camera)
    flat = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    towards = np.cos(elevation) * flat + np.sin(elevation) * np.array([0.0, 0.0, 1.0])
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    up = np.cross(towards, right)
    depth = DISTANCE - placed @ towards
    return np.column_stack([placed @ right, placed @ up, depth]) / np.column_stack(
        [depth * LENS, depth * LENS, np.ones(len(placed))]
    )


def widest(points: NDArray[np.float64], box: NDArray[np.float64]) -> tuple[float, float]:
    """The camera, 20° up, that shows the largest spread of the points."""
    cameras = [(float(azimuth), 20.0) for azimuth in range(5, 365, 15)]
    far = float(np.ptp(box, axis=1).max())
    seen = [projected(points, box, far, camera)[:, :2] for camera in cameras]
    return cameras[int(np.argmax([each.var(axis=0).sum() for each in seen]))]


def reach(
    points: NDArray[np.float64], box: NDArray[np.float64], camera: tuple[float, float]
) -> float:
    """Radius of a ball about the middle of the box that holds all points, however it is turned.

    Smaller, by 40 % at most, where the points then still fit as they are first seen.
    """
    ball = float(np.linalg.norm(points - box.mean(axis=1), axis=1).max())
    for share in np.linspace(0.6, 1, 21):
        if np.abs(projected(points, box, share * ball, camera)[:, :2]).max() < 0.95:
            return float(share * ball)
    return ball


def _space(ax: Axes, picture: Picture) -> None:
    ax.set(xlim=(-WIDTH / HEIGHT, WIDTH / HEIGHT), ylim=(-1, 1))
    ax.set_axis_off()
    seen = (picture.box, picture.reach, picture.camera)
    for axis, name in enumerate(picture.axes):
        ends = np.zeros((2, 3))
        ends[:, axis] = picture.box[axis]
        flat = projected(ends, *seen)
        ax.plot(*flat[:, :2].T, color=picture.ink, linestyle=":", linewidth=1.2)
        ax.text(flat[1, 0], flat[1, 1], f" {name}", color=picture.ink, fontsize=9)
    for line in picture.lines:
        ax.plot(*projected(line, *seen)[:, :2].T, color=picture.ink, linewidth=1.5)
    _scatter(ax, picture, projected(picture.points, *seen))


def _plane(ax: Axes, picture: Picture) -> None:
    box, ink = picture.box, picture.ink
    if picture.equal:
        # As plotly.js does, the axis with room to spare shows more than is asked for.
        shape = np.array(ax.get_position().size) * np.array([WIDTH, HEIGHT])
        unit = (np.ptp(box, axis=1) / shape).max()
        box = box.mean(axis=1)[:, None] + np.outer(unit * shape, (-0.5, 0.5))
    ax.set(xlim=box[0], ylim=box[1])
    if picture.ticks:
        ax.set_xlabel(picture.axes[0], color=ink)
        ax.set_ylabel(picture.axes[1], color=ink)
        ax.tick_params(colors=ink, labelsize=9)
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color(ink)
    else:
        ax.set_axis_off()
    if picture.origin:
        style: dict[str, Any] = {"color": ink, "linestyle": ":", "linewidth": 1.2, "zorder": 1}
        ax.axhline(0, **style)
        ax.axvline(0, **style)
    for line in picture.lines:
        ax.plot(*line.T, color=ink, linewidth=1.5)
    flat = np.column_stack([picture.points, np.zeros(len(picture.points))])
    _scatter(ax, picture, flat)


def _scatter(ax: Axes, picture: Picture, flat: NDArray[np.float64]) -> None:
    """Far points first; ``flat`` is right, up and depth."""
    for layer, rows in zip(picture.layers, picture.rows, strict=True):
        rows = rows[np.argsort(-flat[rows, 2], kind="stable")]
        marked = layer.symbol.endswith("-open")
        sizes = layer.size if picture.sizes is None or marked else picture.sizes[rows]
        colours: Any = layer.colour
        if layer.colour is None and picture.colours is not None:
            colours = picture.colours[rows]
        ax.scatter(
            flat[rows, 0],
            flat[rows, 1],
            s=(0.9 * np.asarray(sizes)) ** 2,
            c="none" if marked else colours,
            edgecolors=layer.colour if marked else "none",
            marker=MARKERS[layer.symbol],
            alpha=layer.alpha,
            linewidths=1.5 if marked else 0,
            zorder=3 if marked else 2,
        )
