"""Pictures to turn and to move, which ask nothing of any network.

    views.turnable(points, labels=groups, names=titles, alt="Three needles leave the origin")
    views.movable([views.Frame("α = 0", a), views.Frame("α = 1", b)], alt="The needles fan out")

A view is a still picture (for paper, and until it is drawn) with its points beside it, compressed;
the same bytes for the same input. A page of the book draws it with ``views.js`` and with the
plotly.js that the package plotly brings; ``book/_ext/specrec_views.py`` puts both among the pages.
Outside the book, in Jupyter, a view carries ``views.js`` along and loads the same version of
plotly.js from cdn.plot.ly; that part is left out of every page.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from specrec_core import view_stills
from specrec_core.view_frames import Frame, Look, Marks, scene
from specrec_core.view_groups import MARK, Legend

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["Frame", "View", "movable", "turnable"]

PLOTLY_JS = "4.1.1"  # what plotly 7.1.0 brings
CDN = f"https://cdn.plot.ly/plotly-{PLOTLY_JS}.min.js"
OUTSIDE, INSIDE = "<!--outside the book-->", "<!--inside again-->"
SIGNS = {"circle": "●", "diamond": "◆", "square": "■", "cross": "✚", MARK: "◇"}
BUTTONS = {
    "left": ("◀", "Turn to the left"),
    "right": ("▶", "Turn to the right"),
    "up": ("▲", "Look from higher up"),
    "down": ("▼", "Look from lower down"),
    "in": ("+", "Closer"),
    "out": ("−", "Farther away"),
    "reset": ("Reset", "As it was at first"),
}


@dataclass(frozen=True)
class View:
    """What a cell shows: ``html`` is what gets into a page of the book."""

    html: str
    alt: str

    def payload(self) -> dict[str, Any]:
        """What ``views.js`` reads."""
        text = self.html.rpartition('<script type="text/plain">')[2].partition("<")[0]
        return json.loads(zlib.decompress(base64.b64decode(text)))

    def __repr__(self) -> str:
        return f"View({self.alt!r})"

    def _repr_html_(self) -> str:
        here = Path(__file__).parent
        style, script = ((here / name).read_text("utf-8") for name in ("views.css", "views.js"))
        source = f'<script>window.specrecPlotly = "{CDN}";\n{script}</script>'
        return f"{self.html}{OUTSIDE}<style>{style}</style>{source}{INSIDE}"


def turnable(
    points: ArrayLike,
    *,
    alt: str,
    labels: ArrayLike | None = None,
    values: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    legend: Legend = None,
    highlight: Marks | None = None,
    lines: Sequence[ArrayLike] = (),
    axes: Sequence[str] = ("", "", ""),
    size: ArrayLike | None = None,
    alpha: float | None = None,
    title: str = "",
    camera: tuple[float, float] | None = None,
) -> View:
    """Points ``(n, 3)`` to turn, with dotted axes through the origin and one scale for all three.

    Parameters
    ----------
    alt
        What there is to see, for those who do not see it: three words or more.
    labels
        A group for each point ``(n,)``: a colour and, beyond five, a symbol. At most 20 groups;
        −1 or None is no group, in grey.
    values
        A number for each point ``(n,)`` in place of a group, as a colour from blue to orange.
    names
        What a point is called when it is pointed at ``(n,)``; a line feed begins a new line.
    legend
        For labels, what each is called, in this order; {} for no legend; by default the labels
        themselves, sorted. For values, the name of the quantity.
    highlight
        Rows to mark, by what they are called: ``{"peaks": [3, 17]}``.
    lines
        Polylines ``(k, 3)`` among the points.
    size, alpha
        Diameter in pixels (a number, or ``(n,)``) and opacity in (0, 1].
    camera
        Azimuth and elevation, in degrees, from which the picture is first seen; by default, 20°
        up, the azimuth that shows the largest spread.

    Raises
    ------
    ValueError
        If an argument has another shape, is not finite, or has no words in ``alt``.
    """
    if np.ndim(points) != 2 or np.shape(points)[1] != 3:
        raise ValueError(f"points: shape {np.shape(points)}, expected (n, 3); see also movable")
    look = Look(
        names=names,
        legend=legend,
        lines=lines,
        axes=axes,
        size=size,
        alpha=alpha,
        camera=camera,
    )
    frame = Frame("", points, "", labels, values, highlight)
    return _view({"": [frame]}, look, alt, title, turns=True)


def movable(
    frames: Sequence[Frame] | Mapping[str, Sequence[Frame]],
    *,
    alt: str,
    labels: ArrayLike | None = None,
    values: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    legend: Legend = None,
    highlight: Marks | None = None,
    lines: Sequence[ArrayLike] = (),
    axes: Sequence[str] | None = None,
    size: ArrayLike | None = None,
    alpha: float | None = None,
    title: str = "",
    camera: tuple[float, float] | None = None,
    slider: str = "",
    start: int | Mapping[str, int] = 0,
    equal: bool = True,
    origin: bool = True,
    fit: bool = False,
) -> View:
    """A slider through precomputed scatters of the plane, or of space, which also turns.

    Parameters are those of `turnable`, ``(n, 2)`` or ``(n, 3)``, and

    Parameters
    ----------
    frames
        What the slider moves through. Several parameters by their names, each with its frames,
        have a menu beside the slider. With ``names``, row i is the same point in all frames.
    axes
        Names of the axes; in the plane, named axes have ticks.
    slider
        What the slider moves, written beside it where there is no menu.
    start
        Position of the first picture, from 0; for each parameter if need be.
    equal, origin
        In the plane: one scale for both axes; dotted axes through the origin, which then is in
        sight.
    fit
        Draw each frame at its own scale, divided by its largest distance from the origin. By
        default all frames have the same limits, which hold all points of all frames.
    """
    rows = dict(frames) if isinstance(frames, Mapping) else {slider: list(frames)}
    if not rows or not all(len(row) for row in rows.values()):
        raise ValueError("frames: expected at least one frame for each parameter")
    look = Look(
        labels=labels,
        values=values,
        highlight=highlight,
        names=names,
        legend=legend,
        lines=lines,
        axes=axes,
        size=size,
        alpha=alpha,
        camera=camera,
        start=start,
        equal=equal,
        origin=origin,
        fit=fit,
    )
    return _view(rows, look, alt, title, turns=False)


def _view(
    rows: Mapping[str, Sequence[Frame]], look: Look, alt: str, title: str, *, turns: bool
) -> View:
    if len(alt.split()) < 3:
        raise ValueError(f"alt: {alt!r}, expected three words or more that say what is to be seen")
    payload, picture = scene(rows, look)
    space = len(payload["box"]) == 3
    plain = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    text = base64.b64encode(zlib.compress(plain.encode(), 9)).decode()
    image = base64.b64encode(view_stills.png(picture)).decode()
    said, what = html.escape(alt), "turned" if turns else "moved"
    name = html.escape(title) or f"A picture that can be {what}"
    number = hashlib.sha256(f"{alt}\n{title}\n{plain}".encode()).hexdigest()[:12]
    row = payload["rows"][0]
    caption = html.escape(row["frames"][row["start"]]["caption"])
    parts = [
        f'<div class="specrec-view" id="view-{number}" role="group"',
        f' aria-label="{name}">',
        f'<p class="specrec-view-title">{html.escape(title)}</p>' if title else "",
        "" if turns else _sliders(payload["rows"]),
        f'<div class="specrec-view-box specrec-view-{"space" if space else "plane"}">',
        f'<img class="specrec-view-still" alt="{said}" src="data:image/png;base64,{image}">',
        f'<div class="specrec-view-stage" role="img" aria-label="{said}"',
        ' tabindex="0"></div></div>' if space else "></div></div>",
        _buttons() if space else "",
        _legend(payload),
        "" if turns else f'<p class="specrec-view-caption" aria-live="polite">{caption}</p>',
        "" if turns else f'<p class="specrec-view-paper">{caption}</p>',
        f'<p class="specrec-view-paper">On the screen this picture can be {what}.</p>',
        '<p class="specrec-view-note" hidden></p>',
        f"<noscript><p>With JavaScript this picture can be {what}.</p></noscript>",
        f'<script type="text/plain">{text}</script></div>',
    ]
    return View("".join(parts), alt)


def _sliders(rows: Sequence[Mapping[str, Any]]) -> str:
    """The menu of what is moved, where there is a choice, and the slider; for ``views.js``."""
    options = "".join(f"<option>{html.escape(row['name'])}</option>" for row in rows)
    menu = f'<select aria-label="What the slider moves">{options}</select>' if len(rows) > 1 else ""
    name, last = html.escape(rows[0]["name"]), len(rows[0]["frames"]) - 1
    shown = html.escape(rows[0]["frames"][rows[0]["start"]]["label"])
    return (
        f'<div class="specrec-view-sliders" hidden>{menu or f"<span>{name}</span>"}'
        f'<input type="range" min="0" max="{last}" step="1" value="{rows[0]["start"]}"'
        f' aria-label="{name or "Position"}"><output>{shown}</output></div>'
    )


def _buttons() -> str:
    buttons = "".join(
        f'<button type="button" data-do="{do}" aria-label="{words}" title="{words}">{sign}</button>'
        for do, (sign, words) in BUTTONS.items()
    )
    hold = '<button type="button" data-do="hold" aria-pressed="false">Turn by touch</button>'
    return f'<div class="specrec-view-buttons" hidden>{hold}{buttons}</div>'


def _legend(payload: Mapping[str, Any]) -> str:
    scale = payload["scale"]
    keys = [
        f'<button type="button" disabled aria-pressed="true" data-layer="{number}">'
        f'<span style="color:{layer["colour"]}">{SIGNS[layer["symbol"]]}</span>'
        f" {html.escape(layer['name'])}</button>"
        for number, layer in enumerate(payload["layers"])
        if layer["name"]
    ]
    if scale:
        ends = [f"{scale[end]:.3g}".replace("-", "−") for end in ("low", "high")]
        bar = f'<span class="specrec-view-bar" style="--ends:{",".join(scale["colours"])}"></span>'
        name = html.escape(scale["name"] or "")
        keys.insert(0, f"<span>{name} {ends[0]} {bar} {ends[1]}</span>")
    return f'<div class="specrec-view-legend">{"".join(keys)}</div>' if keys else ""
