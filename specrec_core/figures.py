"""Figures: one style for the whole book, and its recurring plots (arrays in, Axes out).

One file has to be read on white and on black paper, on a desk and on a phone: transparent paper,
mid-grey ink, line colours with a contrast of at least 3.6 : 1 to both papers that stay apart for
colour-blind readers, text large enough at half the width, names at the ends of lines in place of a
legend box. A role (users, items, a method) has the same colour and dashes on every page; a label
that is the name of a role takes it by itself, any other label the first colour of ``PALETTE``
that is free in its axes.

    figures.use_style()
    fig, ax = plt.subplots()
    figures.spectrum(ax, values, label="users")   # values (k,) or (R, k)
    figures.label_lines(ax)
"""

from __future__ import annotations

import html
import re
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from specrec_core.digits import grouped
from specrec_core.labels import label_lines, label_points
from specrec_core.records import Record

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "label_lines",
    "label_points",
    "provenance",
    "spectrum",
    "table",
    "trajectory",
    "use_style",
]

INK = "#767676"
RECORDS = "how_numbers_are_made.html"  # the page that lists them
BLUE, ORANGE, GREEN, PURPLE, RED = "#006ED1", "#D86500", "#39985A", "#A860A6", "#CE2F31"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, RED)
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
SIDES = ("users", "items", "scores", "popularity", "noise")
METHODS = (
    "BPR",
    "DirectSpec",
    "DirectSpec+",
    "ReSN",
    "LightGCN",
    "BCE",
    "SGL",
    "NeuMF",
    "SVD",
    "MSE",
)

# A side and a method may share a colour: a figure shows one kind or the other.
ROLES: dict[str, tuple[str, Any]] = {
    name: (PALETTE[i % len(PALETTE)], DASHES[i // len(PALETTE)])
    for names in (SIDES, METHODS)
    for i, name in enumerate(names)
} | {"reported": (INK, DASHES[0]), "reference": (INK, DASHES[1]), "random": (INK, DASHES[2])}

STYLE: dict[str, Any] = {
    "figure.figsize": (5.8, 3.3),  # 557 px; a 700 px column shows it as it is, a phone at 0.65
    "figure.dpi": 100,
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
    "savefig.transparent": True,
    "savefig.dpi": 160,
    "svg.hashsalt": "specrec",  # the same ids, hence the same bytes, in every run
    "svg.fonttype": "path",  # the same shapes on every machine, with no font to load
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "mathtext.fontset": "dejavusans",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.minor.visible": False,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
    "patch.facecolor": BLUE,
    "axes.formatter.useoffset": False,
}


def use_style() -> None:
    """Draw in the book's style from here on; in a notebook, as SVG without a date."""
    from cycler import cycler

    cycle = cycler(linestyle=DASHES) * cycler(color=PALETTE)
    rcParams.update(STYLE | {"axes.prop_cycle": cycle})
    try:
        from IPython import get_ipython
    except ModuleNotFoundError:
        return
    if hasattr(get_ipython(), "kernel"):
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None})


def spectrum(
    ax: Axes,
    values: ArrayLike,
    label: str | None = None,
    role: str | None = None,
    normalise: str | None = None,
) -> Axes:
    """Singular values σ_k against k, ``(k,)`` or ``(R, k)``, on a logarithmic axis.

    With R > 1 replicas: geometric mean, with a 95 % t band of log σ. Zeros and NaN leave a gap.
    ``normalise``: "first" draws σ_k / σ₁, "sum" draws σ_k / Σσ, for each replica.
    """
    sigma = _replicas("values", values)
    if normalise not in (None, "first", "sum"):
        raise ValueError(f'normalise: {normalise!r}, expected None, "first" or "sum"')
    ylabel = "singular value $\\sigma_k$"
    if normalise:
        total = np.nanmax(sigma, -1) if normalise == "first" else np.nansum(sigma, -1)
        sigma = sigma / total[:, None]
        ylabel = (
            "$\\sigma_k\\,/\\,\\sigma_1$" if normalise == "first" else "share of $\\Sigma\\sigma$"
        )
    logs = np.log(np.where(sigma > 0, sigma, np.nan))
    mean, half = _mean_band(logs)
    index = np.arange(1, sigma.shape[1] + 1)
    _line(ax, index, np.exp(mean), np.exp(mean - half), np.exp(mean + half), label, role)
    ax.set(yscale="log", xlabel="index $k$", ylabel=ylabel)
    return ax


def trajectory(
    ax: Axes,
    epochs: ArrayLike,
    values: ArrayLike,
    label: str | None = None,
    role: str | None = None,
) -> Axes:
    """A quantity over epochs, ``(T,)`` or ``(R, T)``: mean over replicas, with a 95 % t band.

    NaN marks where a replica has no value (it was stopped, say): mean and band are of the others.
    """
    series, at = _replicas("values", values), np.asarray(epochs)
    if at.shape != series.shape[1:]:
        raise ValueError(f"epochs: shape {at.shape}, expected {series.shape[1:]} as values has")
    mean, half = _mean_band(series)
    _line(ax, at, mean, mean - half, mean + half, label, role)
    ax.set(xlabel="epoch")
    return ax


def provenance(figure: Figure, text: str) -> None:
    """Say under the figure what made it: profile, device, seeds."""
    figure.supxlabel(text, x=0.99, ha="right", fontsize=9, color=INK)


def table(frame: Any, keys: Sequence[str] = (), after: Sequence[str] = ()) -> Any:
    """A pandas frame as an HTML table in the book's style, without its index, for a notebook.

    A column ``record``, of records or lists of them, becomes the last one, of links to where the
    book lists them. A frame too wide for the page is cut after the columns named in ``after`` into
    tables one below the other, each of which begins with the columns ``keys``.
    """
    from IPython.display import HTML

    names = list(frame.columns)
    if names and (unknown := {*keys, *after} - {*names}):
        raise ValueError(f"no column {sorted(unknown)} in {names}")
    rest = [name for name in names if name not in (*keys, "record")]
    cuts = [0, *(k + 1 for k, name in enumerate(rest) if name in after), len(rest)]
    blocks = [[*(keys if names else ()), *rest[a:b]] for a, b in pairwise(cuts)]
    shown = frame.map(_cell)
    if "record" in names:
        shown["record"] = frame["record"].map(_links)
        blocks[-1].append("record")
    titles = {name: html.escape(str(name), quote=False) for name in names} | {"record": ""}
    return HTML(
        "\n".join(
            shown[block]
            .rename(columns=titles)
            .to_html(index=False, border=0, na_rep="–", classes="specrec-table", escape=False)
            for block in blocks
        )
    )


def _cell(value: Any) -> Any:
    """What stands in a cell: digits grouped, minus signs, and no line end inside a quantity."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    value = grouped(value) if whole else value
    if not isinstance(value, str):
        return value
    # A number stays on one line with its unit and its error bar, and has a minus of its size.
    value = re.sub(r" (?=[%×]|s\b)|(?<=±) | (?=±)", "\u00a0", value)
    return html.escape(re.sub(r"(?<![\w.)-])-(?=[\d.])", "−", value), quote=False)


def _links(made_by: Any) -> str:
    """An arrow for each record, which leads to its row in the book's list."""
    every = made_by if isinstance(made_by, (list, tuple)) else [made_by]
    return " ".join(
        f'<a class="specrec-record" href="{RECORDS}#record-{r.name}" title="record {r.name}">↗</a>'
        for r in every
        if isinstance(r, Record)
    )


def _line(
    ax: Axes,
    x: NDArray[Any],
    y: NDArray[Any],
    low: NDArray[Any],
    high: NDArray[Any],
    label: str | None,
    role: str | None,
) -> Line2D:
    if role is not None and role not in ROLES:
        raise ValueError(f"role: {role!r}, expected one of {', '.join(ROLES)}")
    if (role or label) in ROLES:
        color, dashes = ROLES[str(role or label)]
    else:
        drawn = [other.get_color() for other in ax.get_lines()]
        color = min(PALETTE, key=drawn.count)  # of those that are used least, the first
        dashes = DASHES[drawn.count(color) % len(DASHES)]
    (line,) = ax.plot(x, y, label=label, color=color, linestyle=dashes)
    if np.isfinite(low).any():
        ax.fill_between(x, low, high, color=line.get_color(), alpha=0.25, linewidth=0)
    return line


def _replicas(name: str, values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=float)
    if array.ndim not in (1, 2) or not array.size:
        raise ValueError(f"{name}: shape {array.shape}, expected (n,) or (R, n), not empty")
    return np.atleast_2d(array)


def _mean_band(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean over replicas ``(R, n)`` and half the 95 % t interval; NaN with fewer than two."""
    from scipy.stats import t

    count = np.isfinite(values).sum(axis=0)
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # positions without a value: NaN
        mean = np.nanmean(values, axis=0)
        deviation = np.nanstd(values, axis=0, ddof=1)
        half = t.ppf(0.975, np.maximum(count - 1, 1)) * deviation / np.sqrt(count)
    return mean, np.where(count > 1, half, np.nan)
