"""Is it a power law? Discrete tails fitted and tested as by Clauset, Shalizi and Newman.

    counts = data.item_popularity
    fit = fit_tail(counts)                         # exponent, where the tail starts, distance
    p_value(counts, resamples=1000, seed=0)        # small: not a power law, even in the tail
    compare_lognormal(counts, fit)                 # R < 0: a lognormal fits the tail better
    steepest_law_above(ranks, ranked)              # the whole of it below r_max · rank^−α

A discrete power law from ``xmin`` on has P(X = x) = x^−a / ζ(a, xmin) for whole x ≥ xmin, with
Hurwitz's zeta function. Counts of zero are left out: an item that nobody took has no place in it.
Ranked in descending order, counts with the exponent a fall as rank^(−1/(a − 1)).

Source: clauset2009power. `compare_lognormal` needs the package of alstott2014powerlaw.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LOW, HIGH = 1.000001, 20.0  # where exponents are looked for
STEPS = 60  # of a bisection: more than double precision can tell apart
SHIFT = 16.0  # the asymptotic series of ζ is used from here on
TABLE = 4096  # values whose probabilities are tabulated when drawing


@dataclass(frozen=True)
class Tail:
    """A fitted tail: exponent a of the density, start, KS distance, number of values in it."""

    exponent: float
    xmin: int
    distance: float
    size: int

    @property
    def rank_exponent(self) -> float:
        """1/(a − 1), the slope of log count on log rank, without its sign."""
        return 1.0 / (self.exponent - 1.0)

    @property
    def standard_error(self) -> float:
        """(a − 1)/√size, of the exponent, for given xmin, to leading order."""
        return (self.exponent - 1.0) / float(np.sqrt(self.size))

    def survival(self, x: NDArray[np.integer] | Floats) -> Floats:
        """P(X ≥ x) for x ≥ xmin, of the shape of x."""
        at = np.asarray(x, dtype=np.float64)
        a = np.float64(self.exponent)
        return hurwitz(a, at) / hurwitz(a, np.float64(self.xmin))


def hurwitz(a: Floats | np.float64, q: Floats | np.float64) -> Floats:
    """ζ(a, q) = Σ_{k ≥ 0} (q + k)^−a for a > 1 and q ≥ 1, broadcast.

    Terms up to q + k = 16, then the Euler–Maclaurin series: relative error below 1e-9 for a ≤ 8 and
    1e-6 for a ≤ 20. Many times as fast as scipy's, and the bootstrap needs millions of them.
    """
    a, q = np.broadcast_arrays(np.asarray(a, dtype=float), np.asarray(q, dtype=float))
    out, q = np.zeros(q.shape), q.copy()
    while (small := q < SHIFT).any():
        out[small] += q[small] ** -a[small]
        q[small] += 1.0
    power = np.exp(-a * np.log(q))
    series = q / (a - 1) + 0.5 + a / (12 * q)
    series -= a * (a + 1) * (a + 2) / (720 * q**3)
    fifth = a * (a + 1) * (a + 2) * (a + 3) * (a + 4)
    series += fifth / (30240 * q**5)
    series -= fifth * (a + 5) * (a + 6) / (1209600 * q**7)
    return out + power * series


def fit_tail(counts: NDArray[np.integer], *, least: int = 10) -> Tail:
    """The power law that fits a tail best: xmin with the smallest Kolmogorov–Smirnov distance.

    For each xmin among the values the exponent is that of maximum likelihood; the distance is the
    largest difference of P(X ≤ x) between data and fit over all whole x from xmin on. Between two
    values that occur it is largest at one of the ends: where the first is, or just below the next.

    Parameters
    ----------
    counts : (n,) whole numbers, none negative; zeros are left out.
    least
        Values that a tail must have. With fewer, almost anything fits.

    Raises
    ------
    ValueError
        If fewer than ``least`` counts are positive, or all of them are equal.
    """
    values, number = _histogram(counts)
    if number.sum() < least or len(values) < 2:
        raise ValueError(
            f"counts: {number.sum()} positive ones with {len(values)} different values, expected "
            f"at least {least} and 2"
        )
    tails = number[::-1].cumsum()[::-1]  # values ≥ x, for each x
    logs = (number * np.log(values))[::-1].cumsum()[::-1] / tails
    starts = np.flatnonzero(tails >= least)
    starts = starts[starts < len(values) - 1]  # one value alone has no slope
    exponents = _likeliest(values[starts], logs[starts])
    best = Tail(np.nan, 0, np.inf, 0)
    for start, a in zip(starts, exponents, strict=True):
        least_of = tails[start:] / tails[start]  # P(X ≥ x) of the data
        above = np.append(least_of[1:], 0.0)  # P(X > x)
        whole = hurwitz(a, values[start])
        distance = max(
            float(np.abs(above - hurwitz(a, values[start:] + 1.0) / whole).max()),
            float(np.abs(least_of - hurwitz(a, values[start:]) / whole).max()),
        )
        if distance < best.distance:
            best = Tail(float(a), int(values[start]), distance, int(tails[start]))
    return best


def p_value(counts: NDArray[np.integer], *, resamples: int, seed: int, least: int = 10) -> float:
    """Share of data sets drawn from the fit that lie further from their own fit than the data do.

    The semi-parametric bootstrap of [clauset2009power], section 4.1: each of as many values as
    there are positive counts is drawn from the fitted power law with the probability of a count to
    be in the tail, and otherwise from the counts below xmin; the whole fit, xmin included, is
    repeated. The authors rule a power law out at p ≤ 0.1. The standard error is at most
    1/(2 √resamples).
    """
    if resamples < 1:
        raise ValueError(f"resamples: {resamples}, expected at least 1")
    fit = fit_tail(counts, least=least)
    draw = np.random.default_rng(seed)
    positive = np.asarray(counts)[np.asarray(counts) > 0]
    below = positive[positive < fit.xmin]
    further = 0
    for _ in range(resamples):
        size = int(draw.binomial(len(positive), fit.size / len(positive)))
        sample = [draw_tail(fit, size, draw)]
        if len(below):
            sample.append(draw.choice(below, len(positive) - size))
        further += fit_tail(np.concatenate(sample), least=least).distance >= fit.distance
    return further / resamples


def draw_tail(fit: Tail, size: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """``size`` independent values of a fitted tail, exactly, by inverting P(X ≥ x)."""
    u = draw.random(size)
    table = fit.survival(fit.xmin + np.arange(1, TABLE + 1))  # P(X > xmin + k)
    steps = np.searchsorted(-table, -u, "left")  # how many k have P(X > xmin + k) > u
    found = fit.xmin + steps.astype(np.int64)
    far = steps == TABLE
    if far.any():
        low = np.full(int(far.sum()), float(fit.xmin + TABLE))
        high = low * 2
        while (short := fit.survival(high + 1) > u[far]).any():
            high[short] *= 2
        for _ in range(STEPS):
            middle = np.floor((low + high) / 2)
            above = fit.survival(middle + 1) > u[far]
            low, high = np.where(above, middle + 1, low), np.where(above, high, middle)
        found[far] = np.minimum(low, 2.0**62).astype(np.int64)
    return found


def compare_lognormal(counts: NDArray[np.integer], fit: Tail) -> dict[str, float]:
    """The tail from ``fit.xmin`` on as a power law against a lognormal [vuong1989likelihood].

    Returns ``"R"``, the normalised ratio of log-likelihoods (positive: the power law fits better),
    ``"p"``, its two-sided significance, and ``"mu"`` and ``"sigma"`` of the lognormal, whose
    discrete form is that of the package `powerlaw` (rounded values). A lognormal with very negative
    mu and large sigma imitates a power law.
    """
    import powerlaw

    values = np.asarray(counts)[np.asarray(counts) >= fit.xmin]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of its own first guesses
        made = powerlaw.Fit(
            values,
            discrete=True,
            xmin=fit.xmin,
            estimate_discrete=False,
            parameter_ranges={"alpha": [1.0, HIGH]},  # it would stop at 3 without a word
            verbose=0,
        )
        ratio, p = made.distribution_compare("power_law", "lognormal", normalized_ratio=True)
        mu, sigma = made.lognormal.mu, made.lognormal.sigma
    return {"R": float(ratio), "p": float(p), "mu": float(mu), "sigma": float(sigma)}


def steepest_law_above(ranks: Sequence[float], counts: Sequence[float]) -> float:
    """The largest α with count ≤ largest count · rank^−α at every rank given.

    With ranks left out it may be too large, never too small. ``ranks`` and ``counts`` ``(n,)``, the
    most popular first.

    Raises ValueError for fewer than two ranks, others than 1, 2 … ascending, or counts that are not
    positive or rise.
    """
    at, r = np.asarray(ranks, dtype=float), np.asarray(counts, dtype=float)
    ranked = at.ndim == 1 and len(at) > 1 and at[0] == 1 and (np.diff(at) > 0).all()
    if not ranked or at.shape != r.shape or (np.diff(r) > 0).any() or not (r > 0).all():
        raise ValueError(
            f"ranks, counts: shapes {at.shape}, {r.shape}, expected at least two ranks from 1 on "
            "with positive counts, largest first"
        )
    return float((np.log(r[0] / r[1:]) / np.log(at[1:])).min())


def _histogram(counts: NDArray[np.integer]) -> tuple[Floats, NDArray[np.int64]]:
    counts = np.asarray(counts)
    if counts.ndim != 1 or counts.dtype.kind not in "iu" or (counts < 0).any():
        raise ValueError(
            f"counts: {counts.dtype} of shape {counts.shape}, expected one whole number, not "
            "negative, for each item"
        )
    values, number = np.unique(counts[counts > 0], return_counts=True)
    return values.astype(np.float64), number


def _likeliest(xmin: Floats, mean_log: Floats) -> Floats:
    """The maximum of −ln ζ(a, xmin) − a · mean_log over a, for each xmin, by golden sections.

    The log-likelihood is concave in a, as ln ζ(·, q) is convex.
    """
    golden = (np.sqrt(5) - 1) / 2
    low, high = np.full(len(xmin), LOW), np.full(len(xmin), HIGH)

    def loss(a: Floats) -> Floats:
        return np.log(hurwitz(a, xmin)) + a * mean_log

    first, second = high - golden * (high - low), low + golden * (high - low)
    at_first, at_second = loss(first), loss(second)
    for _ in range(STEPS - 20):
        left = at_first < at_second
        low, high = np.where(left, low, first), np.where(left, second, high)
        kept, at_kept = np.where(left, first, second), np.where(left, at_first, at_second)
        new = np.where(left, high - golden * (high - low), low + golden * (high - low))
        at_new = loss(new)
        first, second = np.where(left, new, kept), np.where(left, kept, new)
        at_first, at_second = np.where(left, at_new, at_kept), np.where(left, at_kept, at_new)
    return (low + high) / 2
