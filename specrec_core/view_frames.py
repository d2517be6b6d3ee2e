"""Scatters through which a slider moves, as numbers for ``views.js`` and as a still picture.

Sixteen bits a coordinate, within limits that all frames share; names, and whatever else stays the
same from frame to frame, once.
"""

from __future__ import annotations

import base64
import html
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from specrec_core import view_stills
from specrec_core.figures import INK, PALETTE
from specrec_core.view_groups import MARK, SYMBOLS, Layer, Legend, Scale, by_label, by_value
from specrec_core.view_stills import Picture

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Marks: TypeAlias = Mapping[str, "ArrayLike"]

LETTERS = 48  # in a line of a name


@dataclass(frozen=True, eq=False)
class Frame:
    """One position of a slider: its label, points ``(n, 2)`` or ``(n, 3)``, and what they show.

    ``caption`` is the line under the picture. ``labels``, ``values`` and ``highlight`` are as in
    `views.turnable` and take the place of those given for all frames.
    """

    label: str
    points: ArrayLike
    caption: str = ""
    labels: ArrayLike | None = None
    values: ArrayLike | None = None
    highlight: Marks | None = None


@dataclass(frozen=True, eq=False)
class Look:
    """What all frames have in common; the fields are arguments of `views.movable`."""

    labels: ArrayLike | None = None
    values: ArrayLike | None = None
    highlight: Marks | None = None
    names: Sequence[str] | None = None
    legend: Legend = None
    lines: Sequence[ArrayLike] = ()
    axes: Sequence[str] | None = None
    size: ArrayLike | None = None
    alpha: float | None = None
    camera: tuple[float, float] | None = None
    start: int | Mapping[str, int] = 0
    equal: bool = True
    origin: bool = True
    fit: bool = False


def scene(rows: Mapping[str, Sequence[Frame]], look: Look) -> tuple[dict[str, Any], Picture]:
    """What ``views.js`` reads, and the first picture."""
    frames = [frame for row in rows.values() for frame in row]
    clouds = [_points(frame, look.fit) for frame in frames]
    counts, f = [len(cloud) for cloud in clouds], clouds[0].shape[1]
    if any(cloud.shape[1] != f for cloud in clouds):
        raise ValueError("frames: some have 2 and some 3 coordinates, expected the same in all")
    axes = ("",) * f if look.axes is None else tuple(look.axes)
    if len(axes) != f:
        raise ValueError(f"axes: {axes!r}, expected {f} names")
    lines = [np.asarray(line, dtype=float) for line in look.lines]
    if any(line.ndim != 2 or line.shape[1] != f or not np.isfinite(line).all() for line in lines):
        raise ValueError(f"lines: expected finite arrays (k, {f})")
    if look.names is not None and {len(look.names)} != set(counts):
        raise ValueError(f"names: {len(look.names)} of them for {_all(counts)} points")
    sizes = _sizes(look.size, counts)
    layers, codes, values, scale = _colours(frames, counts, look, float(np.median(sizes)))
    marks = [_marks(frame, look, count) for frame, count in zip(frames, counts, strict=True)]
    marked = list(dict.fromkeys(name for each in marks for name in each))
    drawn = [*layers, *(Layer(name, INK, MARK, float(sizes.max()) + 4, 1.0) for name in marked)]
    nobody = np.empty(0, dtype=np.int64)

    first = _start(rows, look.start)
    at = first[next(iter(rows))]
    box = _box([*clouds, *lines], look.origin or f == 3)
    camera, reach = (0.0, 0.0), 1.0
    if f == 3:
        camera = look.camera or view_stills.widest(clouds[at], box)
        ends = [np.diag(box[:, side]) for side in (0, 1)]
        reach = view_stills.reach(np.concatenate([*clouds, *lines, *ends]), box, camera)
    picture = Picture(
        points=clouds[at],
        layers=drawn,
        rows=[
            *(np.flatnonzero(codes[at] == number) for number in range(len(layers))),
            *(marks[at].get(name, nobody) for name in marked),
        ],
        colours=scale.shades(values[at]) if scale else None,
        sizes=sizes if sizes.ndim else None,
        lines=lines,
        box=box,
        reach=reach,
        axes=axes,
        camera=camera,
        ink=INK,
        equal=look.equal,
        origin=look.origin or f == 3,
        ticks=f == 2 and any(axes) and not look.fit,
    )
    written: list[dict[str, Any]] = [
        {
            "label": frame.label,
            "caption": frame.caption,
            "points": packed(clouds[i].T, box[:, :1], box[:, 1:]),
            "codes": _base64(codes[i].astype("u1")),
            "values": packed(values[i], scale.low, scale.high) if scale else None,
            "marks": [marks[i].get(name, nobody).tolist() for name in marked],
        }
        for i, frame in enumerate(frames)
    ]
    common = _taken_out(written, ("codes", "values", "marks"))
    place = 0
    moved = []
    for name, row in rows.items():
        part = written[place : place + len(row)]
        moved.append({"name": name, "start": first[name], "frames": part})
        place += len(row)
    payload = {
        "layers": [vars(layer) for layer in drawn],
        "groups": len(layers),
        "names": None if look.names is None else [_hover(str(name)) for name in look.names],
        "sizes": sizes.tolist() if sizes.ndim else None,
        "scale": vars(scale) if scale else None,
        "box": box.tolist(),
        "lines": [line.tolist() for line in lines],
        "unit": view_stills.RADIUS / reach,
        "distance": view_stills.DISTANCE,
        **{key: getattr(picture, key) for key in ("axes", "camera", "ink", "equal", "origin")},
        "ticks": picture.ticks,
        "common": common,
        "rows": moved,
    }
    return payload, picture


def packed(array: NDArray[np.float64], low: ArrayLike, high: ArrayLike) -> str:
    """0 … 65535 for low … high, little-endian, in base64."""
    low, high = np.asarray(low), np.asarray(high)
    return _base64(np.rint((array - low) / (high - low) * 65535).astype("<u2"))


def unpacked(text: str, low: float, high: float) -> NDArray[np.float64]:
    """What ``views.js`` makes of `packed`."""
    return low + np.frombuffer(base64.b64decode(text), "<u2") / 65535 * (high - low)


def _base64(array: NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _taken_out(entries: list[dict[str, Any]], keys: Sequence[str]) -> dict[str, Any]:
    """What all entries agree in, taken out of each."""
    same = [key for key in keys if all(each[key] == entries[0][key] for each in entries)]
    out = {key: entries[0][key] for key in same}
    for each in entries:
        for key in same:
            del each[key]
    return out


def _points(frame: Frame, fit: bool) -> NDArray[np.float64]:
    points = np.asarray(frame.points, dtype=float)
    if points.ndim != 2 or points.shape[1] not in (2, 3) or not len(points):
        raise ValueError(f"points: shape {points.shape}, expected (n, 2) or (n, 3), not empty")
    if not np.isfinite(points).all():
        raise ValueError("points: some are infinite or no number, expected finite coordinates")
    return points / (np.linalg.norm(points, axis=1).max() or 1.0) if fit else points


def _box(arrays: Sequence[NDArray[np.float64]], origin: bool) -> NDArray[np.float64]:
    """Limits ``(f, 2)`` of all points with a margin, and never without width."""
    low = np.min([array.min(axis=0) for array in arrays], axis=0)
    high = np.max([array.max(axis=0) for array in arrays], axis=0)
    if origin:
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    span = high - low
    margin = 0.04 * np.where(span > 0, span, span.max() or 1.0)
    return np.column_stack([low - margin, high + margin])


def _sizes(size: ArrayLike | None, counts: Sequence[int]) -> NDArray[np.float64]:
    sizes = np.asarray((6.0 if max(counts) < 1000 else 4.0) if size is None else size, dtype=float)
    if sizes.ndim > 1 or not np.isfinite(sizes).all() or (sizes <= 0).any():
        raise ValueError("size: expected a number above zero, or one for each point")
    if sizes.ndim and {len(sizes)} != set(counts):
        raise ValueError(f"size: {len(sizes)} of them for {_all(counts)} points")
    return np.round(sizes, 2)


def _all(counts: Sequence[int]) -> str:
    return " or ".join(map(str, sorted(set(counts))))


def _colours(
    frames: Sequence[Frame], counts: Sequence[int], look: Look, size: float
) -> tuple[list[Layer], list[NDArray[np.int64]], list[Any], Scale | None]:
    """Layers, and frame by frame the layer of each point and its value; the scale of values."""
    alpha = (0.9 if max(counts) < 1000 else 0.6) if look.alpha is None else float(look.alpha)
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha: {alpha}, expected a number in (0, 1]")
    own = [frame.labels is not None or frame.values is not None for frame in frames]
    labels = [frame.labels if o else look.labels for frame, o in zip(frames, own, strict=True)]
    values = [frame.values if o else look.values for frame, o in zip(frames, own, strict=True)]
    given = {(a is not None, b is not None) for a, b in zip(labels, values, strict=True)}
    if len(given) > 1 or (True, True) in given:
        raise ValueError("labels, values: expected one of them, and the same one in every frame")
    one, nothing = [np.zeros(count, dtype=int) for count in counts], [None] * len(frames)
    if (False, True) in given:
        arrays, scale = by_value(values, counts, look.legend)
        return [Layer("", None, SYMBOLS[0], size, alpha)], one, arrays, scale
    if (False, False) in given:
        return [Layer("", PALETTE[0], SYMBOLS[0], size, alpha)], one, nothing, None
    codes, layers = by_label(labels, counts, look.legend, alpha)
    return [replace(layer, size=size) for layer in layers], codes, nothing, None


def _marks(frame: Frame, look: Look, n: int) -> dict[str, NDArray[np.int64]]:
    given = look.highlight if frame.highlight is None else frame.highlight
    out = {}
    for name, rows in (given or {}).items():
        array = np.asarray(rows).reshape(-1)
        if len(array) and array.dtype.kind not in "iu":
            raise ValueError(f"highlight: {name!r} is of {array.dtype}, expected numbers of rows")
        array = array.astype(np.int64)
        if len(array) and not (0 <= array.min() and array.max() < n):
            raise ValueError(f"highlight: {name!r} has rows outside 0 … {n - 1}")
        out[name] = array
    return out


def _start(rows: Mapping[str, Sequence[Frame]], start: int | Mapping[str, int]) -> dict[str, int]:
    out = {name: start.get(name, 0) if isinstance(start, Mapping) else start for name in rows}
    for name, at in out.items():
        if not 0 <= at < len(rows[name]):
            raise ValueError(f"start: {at}, expected a position in 0 … {len(rows[name]) - 1}")
    return out


def _hover(name: str) -> str:
    """Letters for plotly.js, which reads some HTML: none of it, and lines that fit a phone."""
    lines = [part for line in name.split("\n") for part in textwrap.wrap(line, LETTERS) or [""]]
    return "<br>".join(html.escape(line, quote=False) for line in lines)
