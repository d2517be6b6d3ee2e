"""Which shape does a curve of quality against width have? A stated test, in place of an eye.

A curve is the mean over R seeds of a metric at T widths d. With the noise of one run estimated
from the seeds, a *peak* is a local maximum between the ends whose prominence exceeds what noise
makes of two equal means anywhere on the curve, so that a curve without a second peak shows one
with a probability of at most ``level`` (`threshold`). The number of peaks, and the R² of a
straight line in log d, decide the shape:

- "double peak", "single peak": two peaks, or one;
- "flat": no two means differ by more than the threshold;
- "logarithmic": no peak, rising, R² at least ``fit``;
- "other": anything else, as a rise that soon stops, a fall, or three peaks.

>>> classify([2, 4, 8, 16, 32], [0.1, 0.2, 0.3, 0.4, 0.5], spread=0.01).kind
'logarithmic'
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specrec_core.arguments import between, whole

KINDS = ("double peak", "single peak", "logarithmic", "flat", "other")
LEVEL = 0.05
FIT = 0.9
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Peak:
    """A local maximum: where, how high, and how far it stands out on its lower side."""

    width: float
    value: float
    prominence: float


@dataclass(frozen=True)
class LogFit:
    """The least-squares line a + b log₂ d, and the share of the variance that it explains."""

    intercept: float
    slope: float
    r_squared: float


@dataclass(frozen=True)
class Shape:
    """What `classify` says of a curve.

    ``spread`` is the standard deviation of one run, ``threshold`` the prominence that a peak must
    exceed. ``shares`` are the shares of the bootstrap's curves with each of `KINDS`, ``fits`` the
    95 % interval of R² over them; empty where there is one seed.
    """

    kind: str
    peaks: tuple[Peak, ...]
    fit: LogFit
    spread: float
    threshold: float
    shares: Mapping[str, float] = field(default_factory=dict)
    fits: tuple[float, ...] = ()

    @property
    def share(self) -> float:
        """The share of the bootstrap's curves with the shape of the mean; NaN with one seed."""
        return self.shares.get(self.kind, math.nan)


def noise(curves: ArrayLike) -> float:
    """Standard deviation of one run, ``curves (R, T)``, without what a seed adds to all widths.

    The residuals of a two-way layout, seeds × widths: y_st − ȳ_s − ȳ_t + ȳ, with (R − 1)(T − 1)
    degrees of freedom.
    """
    values = _curves(curves)
    seeds, widths = values.shape
    if seeds < 2:
        raise ValueError(f"curves have {seeds} seed: expected at least 2, or a spread of your own")
    rest = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    return float(math.sqrt((rest**2).sum() / ((seeds - 1) * (widths - 1))))


def threshold(
    spread: float, seeds: int, widths: int, level: float = LEVEL, *, known: bool = False
) -> float:
    """q · spread / √seeds, with q the studentised range of ``widths`` means [tukey1949comparing].

    Where the runs have independent normal errors of one variance, beside what a seed adds to all
    widths, no two of the means are further from their expected difference than this, with
    probability 1 − ``level``. So a curve whose expectation rises and then falls (or only one of
    them) has a second peak above the threshold with a probability of at most ``level``.
    ``known``: the spread is not estimated from these seeds.
    """
    between("spread", spread, 0.0, math.inf)
    between("level", level, 0.0, 1.0, ends=False)
    whole("seeds", seeds, 1 if known else 2)
    whole("widths", widths, 3)
    freedom = math.inf if known else (seeds - 1) * (widths - 1)
    return _studentised(1 - level, widths, freedom) * spread / math.sqrt(seeds)


def seeds_needed(
    prominence: float, spread: float, widths: int, level: float = LEVEL, most: int = 10_000
) -> int:
    """The least number of seeds at which `threshold` is below ``prominence``, spread known.

    A peak of that very prominence is then found in about half of all experiments.
    """
    between("prominence", prominence, 0.0, math.inf, ends=False)
    ratio = threshold(spread, 1, widths, level, known=True) / prominence
    needed = math.floor(ratio**2) + 1
    if needed > most:
        raise ValueError(f"seeds needed are {needed}: expected at most {most}")
    return needed


def find_peaks(widths: ArrayLike, values: ArrayLike, least: float = 0.0) -> tuple[Peak, ...]:
    """Local maxima between the ends whose prominence exceeds ``least``, from left to right.

    The prominence is the height above the higher of the two lowest points that lie between the
    peak and the next higher one, or the end, on either side (`scipy.signal.peak_prominences`).
    """
    from scipy import signal

    at, curve = _widths(widths), np.asarray(values, dtype=float)
    if curve.shape != at.shape:
        raise ValueError(f"values have shape {curve.shape}: expected {at.shape} as widths have")
    found, about = signal.find_peaks(curve, prominence=0.0)
    return tuple(
        Peak(float(at[i]), float(curve[i]), float(p))
        for i, p in zip(found, about["prominences"], strict=True)
        if p > least
    )


def log_fit(widths: ArrayLike, values: ArrayLike) -> LogFit:
    """The least-squares line of values on log₂ d; R² of a constant curve is 0."""
    x, y = np.log2(_widths(widths)), np.asarray(values, dtype=float)
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    intercept = float(y.mean() - slope * x.mean())
    if np.ptp(y) == 0:
        return LogFit(intercept, slope, 0.0)
    explained = slope**2 * float(centred @ centred)
    return LogFit(intercept, slope, min(1.0, explained / float(((y - y.mean()) ** 2).sum())))


def classify(
    widths: ArrayLike,
    curves: ArrayLike,
    *,
    spread: float | None = None,
    level: float = LEVEL,
    fit: float = FIT,
    resamples: int = 1000,
    seed: int = 0,
) -> Shape:
    """The shape of the mean of ``curves``, ``(T,)`` or ``(R, T)``, against ``widths (T,)``.

    Parameters
    ----------
    spread
        Standard deviation of one run, where it is known from elsewhere; needed with one curve.
    level
        Chance of a false second peak, see `threshold`.
    fit
        The R² from which on a rise without peaks is called logarithmic.
    resamples
        Bootstrap samples of seeds [efron1979bootstrap]; each is judged by the threshold of the
        whole. They say how much the verdict hangs on single seeds, not how probable it is.
    """
    between("fit", fit, 0.0, 1.0)
    whole("resamples", resamples, 0)
    at, values = _widths(widths), _curves(curves)
    if values.shape[1] != len(at):
        raise ValueError(f"curves have {values.shape[1]} widths: expected {len(at)} as widths have")
    seeds = len(values)
    known = spread is not None
    if spread is None:
        spread = noise(values)
    least = threshold(spread, seeds, len(at), level, known=known)
    mean = values.mean(0)
    kind, peaks, line = _judge(at, mean, least, fit)
    if seeds == 1 or not resamples:
        return Shape(kind, peaks, line, spread, least)
    draw = np.random.default_rng(seed)
    again = values[draw.integers(0, seeds, (resamples, seeds))].mean(1)
    judged = [_judge(at, curve, least, fit) for curve in again]
    count = {name: sum(k == name for k, _, _ in judged) / resamples for name in KINDS}
    ends = [2.5, 97.5]
    return Shape(
        kind, peaks, line, spread, least, count,
        tuple(np.percentile([f.r_squared for _, _, f in judged], ends).tolist()),
    )  # fmt: skip


def planted(kind: str, widths: ArrayLike, size: float = 1.0) -> Floats:
    """A curve of one of the first four `KINDS`, for tests and demonstrations.

    ``size`` is the prominence of the smaller peak, or the whole rise of the logarithm.
    """
    x = np.log2(_widths(widths))
    x = (x - x[0]) / (x[-1] - x[0])
    if kind == "flat":
        return np.zeros_like(x)
    if kind == "logarithmic":
        return size * x
    corners: dict[str, tuple[list[float], list[float]]] = {
        "single peak": ([0, 0.5, 1], [-4, 1, 0]),
        "double peak": ([0, 0.4, 0.6, 0.8, 1], [-4, 1.5, 0, 1, -1]),
    }
    if kind not in corners:
        raise ValueError(f"kind is {kind!r}: expected one of {', '.join(KINDS[:4])}")
    corner, height = corners[kind]
    nearest = [x[np.abs(x - c).argmin()] for c in corner]  # corners on the grid of widths
    if len(set(nearest)) < len(corner):
        raise ValueError(f"widths are {len(x)}: expected enough of them for a {kind}")
    return size * np.interp(x, nearest, height)


def _judge(
    widths: Floats, curve: Floats, least: float, fit: float
) -> tuple[str, tuple[Peak, ...], LogFit]:
    peaks, line = find_peaks(widths, curve, least), log_fit(widths, curve)
    if peaks:
        return {1: "single peak", 2: "double peak"}.get(len(peaks), "other"), peaks, line
    if np.ptp(curve) <= least:
        return "flat", peaks, line
    return ("logarithmic" if line.slope > 0 and line.r_squared >= fit else "other"), peaks, line


@functools.lru_cache(maxsize=256)
def _studentised(probability: float, means: int, freedom: float) -> float:
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(probability, means, freedom))


def _widths(widths: ArrayLike) -> Floats:
    at = np.asarray(widths, dtype=float)
    if at.ndim != 1 or len(at) < 3 or not (at > 0).all() or not (np.diff(at) > 0).all():
        raise ValueError(f"widths are {at.tolist()}: expected 3 or more, positive and ascending")
    return at


def _curves(curves: Any) -> Floats:
    values = np.atleast_2d(np.asarray(curves, dtype=float))
    if values.ndim != 2 or values.shape[1] < 3 or not np.isfinite(values).all():
        raise ValueError(
            f"curves have shape {values.shape}: expected finite (R, T) with T at least 3"
        )
    return values


def table(shapes: Mapping[str, Shape]) -> list[dict[str, Any]]:
    """A row for each shape, ready to print."""
    rows: Sequence[tuple[str, Shape]] = list(shapes.items())
    return [
        {
            "curve": name,
            "shape": s.kind,
            "of bootstrap": "–" if math.isnan(s.share) else f"{s.share:.0%}",
            "peaks at": ", ".join(f"{p.width:g}" for p in s.peaks) or "–",
            "prominences": ", ".join(f"{p.prominence:.4f}" for p in s.peaks) or "–",
            "threshold": f"{s.threshold:.4f}",
            "R², log line": f"{s.fit.r_squared:.2f}",
            "its bootstrap": f"{s.fits[0]:.2f}–\N{WORD JOINER}{s.fits[1]:.2f}" if s.fits else "–",
        }
        for name, s in rows
    ]
