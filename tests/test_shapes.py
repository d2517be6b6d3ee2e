"""The stated test of a curve's shape: what it finds, what it misses, how often it is fooled."""

import numpy as np
import pytest

from specrec_core import reported, shapes

WIDTHS = 2.0 ** np.arange(1, 16)


def slow_prominence(values, i):
    """From the definition: walk to either side up to a higher point or the end."""
    sides = []
    for step in (-1, 1):
        lowest, j = values[i], i
        while 0 <= j < len(values) and values[j] <= values[i]:
            lowest, j = min(lowest, values[j]), j + step
        sides.append(lowest)
    return values[i] - max(sides)


def test_peaks_are_those_of_the_definition():
    draw = np.random.default_rng(0)
    for _ in range(200):
        values = draw.standard_normal(15)
        inner = range(1, 14)
        tops = [i for i in inner if values[i] > values[i - 1] and values[i] > values[i + 1]]
        expected = [(WIDTHS[i], slow_prominence(values, i)) for i in tops]
        found = shapes.find_peaks(WIDTHS, values)
        assert [(p.width, pytest.approx(p.prominence)) for p in found] == expected
        least = float(np.median([p.prominence for p in found])) if found else 0.0
        assert shapes.find_peaks(WIDTHS, values, least) == tuple(
            p for p in found if p.prominence > least
        )


def test_noise_is_that_of_a_two_way_layout():
    draw = np.random.default_rng(1)
    curves = draw.standard_normal((4, 9))
    seeds, widths = np.divmod(np.arange(36), 9)
    design = np.column_stack([seeds[:, None] == np.arange(4), widths[:, None] == np.arange(1, 9)])
    rest = np.linalg.lstsq(design.astype(float), curves.ravel(), rcond=None)[1][0]
    assert shapes.noise(curves) == pytest.approx(np.sqrt(rest / (3 * 8)))
    shifted = curves + draw.standard_normal((4, 1)) * 50 + draw.standard_normal(9)
    assert shapes.noise(shifted) == pytest.approx(shapes.noise(curves))


def test_the_line_is_the_least_squares_line():
    draw = np.random.default_rng(2)
    values = draw.standard_normal(15)
    slope, intercept = np.polyfit(np.log2(WIDTHS), values, 1)
    fit = shapes.log_fit(WIDTHS, values)
    assert (fit.slope, fit.intercept) == (pytest.approx(slope), pytest.approx(intercept))
    assert fit.r_squared == pytest.approx(np.corrcoef(np.log2(WIDTHS), values)[0, 1] ** 2)
    assert shapes.log_fit(WIDTHS, np.full(15, 0.3)).r_squared == 0


@pytest.mark.parametrize("kind", shapes.KINDS[:4])
def test_planted_shapes_are_found_where_noise_is_small(kind):
    draw = np.random.default_rng(3)
    for seeds in (3, 5):
        size = 20.0 if kind == "logarithmic" else 8.0  # the whole rise, or the smaller peak
        curves = shapes.planted(kind, WIDTHS, size) + draw.standard_normal((seeds, 15))
        found = shapes.classify(WIDTHS, curves, resamples=100)
        assert found.kind == kind and found.share > 0.5  # the bootstrap adds noise once more
        assert sum(found.shares.values()) == pytest.approx(1)
        drawn = np.random.default_rng(0).integers(0, seeds, (100, seeds))
        again = [shapes.log_fit(WIDTHS, curves[of].mean(0)).r_squared for of in drawn]
        assert found.fits == pytest.approx(np.percentile(again, [2.5, 97.5]))


def kinds(base, seeds, times, draw):
    found = [
        shapes.classify(WIDTHS, base + draw.standard_normal((seeds, 15)), resamples=0)
        for _ in range(times)
    ]
    return np.array([[s.kind == k for k in shapes.KINDS] for s in found]).mean(0), found


def test_where_a_double_peak_is_found_and_where_not():
    """Five seeds: a second peak of half a standard deviation is never seen, of five always."""
    draw = np.random.default_rng(4)
    share = {
        size: kinds(shapes.planted("double peak", WIDTHS, size), 5, 200, draw)[0][0]
        for size in (0.5, 2.5, 5.0)
    }
    assert share[0.5] < 0.02 and 0.4 < share[2.5] < 0.95 and share[5.0] > 0.99


@pytest.mark.theorem("prop-shape-test")
def test_no_second_peak_where_there_is_none(theorem_cases):
    """At most 5 % of curves without a second peak show one; flat curves are the worst."""
    draw = np.random.default_rng(5)
    rise, fall = np.sort(draw.random(15)), -np.sort(draw.random(15))
    hill = np.concatenate([rise[:8], np.sort(draw.random(7))[::-1] * rise[7]])
    false = {}
    for name, base in {"flat": 0 * rise, "rise": rise, "fall": fall, "hill": hill}.items():
        for scale in (1.0, 5.0):
            allowed = 1 if name == "hill" else 0
            seed_effects = 10 * draw.standard_normal((2000, 3, 1))
            runs = base * scale + seed_effects + draw.standard_normal((2000, 3, 15))
            count = 0
            for curves in runs:
                least = shapes.threshold(shapes.noise(curves), 3, 15)
                count += len(shapes.find_peaks(WIDTHS, curves.mean(0), least)) > allowed
                theorem_cases.count()
            false[name, scale] = count / len(runs)
    assert max(false.values()) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)
    # The bound behind it holds with equality where all expectations are the same.
    noise = draw.standard_normal((4000, 3, 15))
    over = [np.ptp(c.mean(0)) > shapes.threshold(shapes.noise(c), 3, 15) for c in noise]
    assert np.mean(over) == pytest.approx(0.05, abs=0.012)


def test_the_seeds_that_a_small_peak_needs():
    needed = shapes.seeds_needed(0.004, 0.0023, 15)
    small = shapes.threshold(0.0023, needed, 15, known=True)
    assert small < 0.004 <= shapes.threshold(0.0023, needed - 1, 15, known=True)
    with pytest.raises(ValueError, match="seeds needed"):
        shapes.seeds_needed(1e-6, 1.0, 15)


def test_one_curve_needs_a_known_spread():
    curve = shapes.planted("double peak", WIDTHS, 0.01)
    assert shapes.classify(WIDTHS, curve, spread=0.001).kind == "double peak"
    assert shapes.classify(WIDTHS, curve, spread=0.01).kind != "double peak"
    assert np.isnan(shapes.classify(WIDTHS, curve, spread=0.001).share)
    with pytest.raises(ValueError, match="curves have 1 seed"):
        shapes.classify(WIDTHS, curve)


@pytest.mark.parametrize(
    ("widths", "seeds", "level", "known", "quantile"),
    [(3, 6, 0.05, False, 3.877), (3, 6, 0.01, False, 5.270), (5, 6, 0.05, False, 4.232),
     (3, 2, 0.05, True, 3.314), (3, 2, 0.01, True, 4.120), (10, 4, 0.05, True, 4.474)],
)  # fmt: skip
def test_the_threshold_has_the_quantiles_of_the_printed_tables(
    widths, seeds, level, known, quantile
):
    """Of the studentised range, of that many means and (R - 1)(T - 1) degrees, or infinitely many.

    `classify` takes the same, its spread estimated or given.
    """
    expected = quantile * 0.3 / np.sqrt(seeds)
    assert shapes.threshold(0.3, seeds, widths, level, known=known) == pytest.approx(
        expected, rel=3e-4
    )
    curves = np.random.default_rng(6).standard_normal((seeds, widths))
    found = shapes.classify(
        WIDTHS[:widths], curves, spread=0.3 if known else None, level=level, resamples=0
    )
    spread = 0.3 if known else shapes.noise(curves)
    assert found.spread == spread
    assert found.threshold == pytest.approx(expected * spread / 0.3, rel=3e-4)


def test_the_seeds_needed_go_with_the_level():
    """q(0.99; 3, ∞) = 4.120 and q(0.95; 3, ∞) = 3.314, squared: 16.97 and 10.98."""
    assert shapes.seeds_needed(1.0, 1.0, 3, 0.01) == 17
    assert shapes.seeds_needed(1.0, 1.0, 3) == 11


def test_kinds_of_curves_without_one_or_two_peaks():
    def kind(curve, **given):
        return shapes.classify(WIDTHS, curve, spread=1e-6, **given).kind

    line = np.log2(WIDTHS)
    assert kind(line) == "logarithmic"
    assert kind(-line) == "other"  # a fall, however straight
    assert kind(line + 3 * np.sin(line * 1.7)) == "other"  # three peaks
    assert len(shapes.find_peaks(WIDTHS, line + 3 * np.sin(line * 1.7))) == 3
    bent = np.minimum(line, 9.0) + 1e-3 * line  # a rise that soon stops
    share = np.corrcoef(line, bent)[0, 1] ** 2
    assert 0.8 < share < 0.9 and kind(bent) == "other"  # 0.9 is the default
    assert kind(bent, fit=share - 1e-6) == "logarithmic"
    assert kind(bent, fit=share + 1e-6) == "other"


def test_the_bootstrap_draws_from_its_seed():
    curves = shapes.planted("single peak", WIDTHS, 4.0)
    curves = curves + np.random.default_rng(7).standard_normal((4, 15))
    for seed in (0, 5):
        found = shapes.classify(WIDTHS, curves, resamples=200, seed=seed)
        drawn = np.random.default_rng(seed).integers(0, 4, (200, 4))
        again = [shapes.log_fit(WIDTHS, curves[of].mean(0)).r_squared for of in drawn]
        assert found.fits == pytest.approx(np.percentile(again, [2.5, 97.5]))
        peaks = [len(shapes.find_peaks(WIDTHS, curves[of].mean(0), found.threshold))
                 for of in drawn]  # fmt: skip
        for number, name in ((1, "single peak"), (2, "double peak")):
            assert found.shares[name] == pytest.approx(np.mean(np.array(peaks) == number))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": [2, 4, 4]}, "widths are"),
        ({"widths": [2, 4]}, "widths are"),
        ({"curves": [[0.1, np.nan, 0.2]]}, "curves have shape"),
        ({"curves": [0.1, 0.2, 0.3, 0.4]}, "curves have 4 widths"),
        ({"spread": -1.0}, "spread is"),
        ({"level": 1.0}, "level is"),
    ],
)
def test_bad_input_is_named(change, message):
    given = {"widths": [2, 4, 8], "curves": [0.1, 0.2, 0.3], "spread": 0.1} | change
    with pytest.raises(ValueError, match=message):
        shapes.classify(given.pop("widths"), given.pop("curves"), **given)


# ------------------------------------------------------------------------------ reported numbers


def test_the_digitised_panels():
    panels = reported.scaling_panels()
    assert [p.name for p in panels] == list("abcdefghijkl")
    assert len({(p.dataset, p.model) for p in panels}) == 12
    for p in panels:
        assert len(p.widths) == len(p.values) == len(p.lows) >= 5
        # One line was read at two places, to a pixel or so.
        assert p.start < min(p.values) <= max(p.values) < p.top + 0.002
        assert all(lo - 0.001 <= v <= hi + 0.001
                   for lo, v, hi in zip(p.lows, p.values, p.highs, strict=True))  # fmt: skip
    k, last = panels[10], panels[11]
    assert (k.widths, k.values, k.start) == (last.widths, last.values, last.start)


def test_reported_tables():
    auc = reported.collapse_auc("Avazu", "NFwFM", "ME")
    assert list(auc) == [1, 2, 3, 4] and auc[4] == 0.78932
    assert reported.number("collapse_prose", quantity="gain of ME, all models") == 0.00106
    with pytest.raises(ValueError, match="table is"):
        reported.rows("nothing")
    with pytest.raises(ValueError, match="no column"):
        reported.rows("collapse", year="2024")
    with pytest.raises(ValueError, match="no AUC"):
        reported.collapse_auc("Avazu", "BPR", "ME")
