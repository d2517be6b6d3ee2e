"""Figures: what is drawn, that both papers can show it, and that a second run gives the same."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator

import matplotlib
import matplotlib.text
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats
from test_records import experiment, record

from specrec_core import figures


@pytest.fixture
def ax() -> Iterator[Axes]:
    with matplotlib.rc_context():
        figures.use_style()
        yield Figure().subplots()


def heights(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_ydata(), dtype=float)


def band(ax: Axes) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper edge at each abscissa of the only band."""
    (area,) = [c for c in ax.collections if isinstance(c, PolyCollection)]
    corners = np.asarray(area.get_paths()[0].vertices)
    at = np.unique(corners[:, 0])
    edges = [corners[corners[:, 0] == x, 1] for x in at]
    return np.array([e.min() for e in edges]), np.array([e.max() for e in edges])


def interval(values: np.ndarray) -> tuple[float, float]:
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    return float(low), float(high)


def test_trajectory_draws_mean_and_t_interval(ax: Axes) -> None:
    values = np.random.default_rng(0).standard_normal((5, 7))
    figures.trajectory(ax, np.arange(0, 70, 10), values, label="NDCG")
    (line,) = ax.get_lines()
    np.testing.assert_allclose(heights(line), values.mean(axis=0))
    np.testing.assert_allclose(np.transpose(band(ax)), [interval(v) for v in values.T])


def test_trajectory_leaves_out_replicas_that_have_stopped(ax: Axes) -> None:
    values = np.array([[1.0, 2, 3, np.nan], [3, 4, np.nan, np.nan], [5, 9, 5, np.nan]])
    figures.trajectory(ax, range(4), values)
    (line,) = ax.get_lines()
    np.testing.assert_allclose(heights(line), np.array([3, 5, 4, np.nan]))
    low, high = band(ax)
    np.testing.assert_allclose((low[2], high[2]), interval(np.array([3.0, 5.0])))


def test_one_replica_has_no_band(ax: Axes) -> None:
    figures.trajectory(ax, [0, 1], [0.1, 0.2])
    figures.spectrum(ax, [[3.0, 1.0]])
    assert not ax.collections


def test_spectrum_band_is_that_of_the_logarithm(ax: Axes) -> None:
    values = np.exp(np.random.default_rng(1).standard_normal((4, 6)))
    figures.spectrum(ax, values)
    assert ax.get_yscale() == "log"
    np.testing.assert_allclose(heights(ax.get_lines()[0]), stats.gmean(values, axis=0))
    expected = np.exp([interval(v) for v in np.log(values).T])
    np.testing.assert_allclose(np.transpose(band(ax)), expected)


@pytest.mark.parametrize("normalise", ["first", "sum"])
def test_normalised_spectrum_does_not_know_scale(ax: Axes, normalise: str) -> None:
    values = np.array([8.0, 4.0, 2.0, 0.0])
    figures.spectrum(ax, values, normalise=normalise)
    figures.spectrum(ax, 100 * values, normalise=normalise)
    one, other = (heights(line) for line in ax.get_lines())
    np.testing.assert_allclose(one, other)
    assert np.isnan(one[3])  # zero has no place on the axis
    assert (one[0] if normalise == "first" else np.nansum(one)) == pytest.approx(1)


def test_a_role_looks_the_same_everywhere(ax: Axes) -> None:
    figures.spectrum(ax, [2, 1], label="something else")
    figures.spectrum(ax, [2, 1], label="items")
    figures.trajectory(ax, [0, 1], [2, 1], label="ours", role="items")
    other, *items = (line.get_color() for line in ax.get_lines())
    assert items == [figures.ORANGE, figures.ORANGE] != [other, other]


def test_other_labels_take_colours_that_are_free(ax: Axes) -> None:
    for label in ("BPR", "DirectSpec+", "one more", "and another", "third", "sixth"):
        figures.trajectory(ax, [0, 1], [0, 1], label=label)
    looks = [(line.get_color(), line.get_linestyle()) for line in ax.get_lines()]
    assert len({color for color, _ in looks[:5]}) == 5, "as many as there are"
    assert len(set(looks)) == 6 and looks[5][0] == looks[0][0], "then other dashes"


def test_names_at_line_ends_do_not_overlap_and_stay_inside(ax: Axes) -> None:
    for i in range(7):
        figures.trajectory(ax, [0, 1], [0, 1 + i / 1e6], label=f"method {i}")
    ax.legend()
    figures.label_lines(ax)
    assert ax.get_legend() is None
    canvas = ax.get_figure(root=True).canvas  # type: ignore[union-attr]
    canvas.draw()
    boxes = sorted((t.get_window_extent() for t in ax.texts), key=lambda box: box.y0)
    assert [t.get_text() for t in ax.texts] == [f"method {i}" for i in range(7)]
    assert all(a.y1 <= b.y0 for a, b in itertools.pairwise(boxes))
    pieces = [line for line in ax.get_lines() if line.get_label() == "_"]
    assert len(pieces) == 7 + 4, "a line leads to each, and two colours occur twice"
    frame = ax.get_window_extent()
    assert frame.y0 - 10 < boxes[0].y0 and boxes[-1].y1 < frame.y1 + 10


def test_name_is_at_the_end_of_its_line(ax: Axes) -> None:
    figures.spectrum(ax, [100.0, 10.0, 1.0], label="users")
    figures.spectrum(ax, [90.0, 9.0, np.nan], label="items")
    figures.label_lines(ax)
    for text, (x, y) in zip(ax.texts, [(2, 9.0), (3, 1.0)], strict=True):
        place = ax.transAxes.transform(text.xy)  # type: ignore[attr-defined]
        np.testing.assert_allclose(ax.transData.inverted().transform(place), (x, y), rtol=1e-6)


def test_names_stand_above_the_edge_and_off_other_lines(ax: Axes) -> None:
    figures.trajectory(ax, [0, 1, 2], [0.0, 0.0, 0.0], label="none")
    figures.trajectory(ax, [0, 1], [0.0, 0.5], label="some")
    ax.axhline(0.5)
    ax.set(ylim=(0, 1))
    figures.label_lines(ax)
    ax.get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]
    some, none = (text.get_window_extent() for text in ax.texts)
    assert [text.get_text() for text in ax.texts] == ["some", "none"]
    assert none.y0 >= ax.get_window_extent().y0
    across = ax.transData.transform((0, 0.5))[1]
    assert not some.y0 < across < some.y1


def test_lines_of_one_colour_show_their_dash_beside_the_name(ax: Axes) -> None:
    for i, dash in enumerate(figures.DASHES[:2]):
        ax.plot([0, 1], [0, i], color=figures.BLUE, linestyle=dash, label=f"line {i}")
    figures.label_lines(ax)
    lines = [line for line in ax.get_lines() if line.get_label() != "_"]
    shown = [line for line in ax.get_lines() if line.get_label() == "_"]
    dashes = {piece._unscaled_dash_pattern for piece in shown}  # type: ignore[attr-defined]
    assert dashes == {line._unscaled_dash_pattern for line in lines}  # type: ignore


def test_names_of_points_lie_on_nothing(ax: Axes) -> None:
    draw = np.random.default_rng(3)
    points = 0.5 + 0.03 * draw.standard_normal((9, 2))
    ax.scatter(*points.T, s=30)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    figures.label_points(ax, [f"point {i}" for i in range(9)], points, [figures.BLUE] * 9)
    ax.get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]
    boxes = [matplotlib.text.Text.get_window_extent(text) for text in ax.texts]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    marks = ax.transData.transform(points)
    assert not any(box.contains(*mark) for box in boxes for mark in marks)


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio of two colours."""

    def luminance(colour: str) -> float:
        c = np.array(to_rgb(colour))
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("paper", ["#ffffff", "#121212"])
def test_every_colour_shows_on_both_papers(paper: str) -> None:
    assert contrast(figures.INK, paper) > 4
    assert min(contrast(colour, paper) for colour in figures.PALETTE) >= 3.6


def test_paper_is_transparent_and_text_needs_no_font(ax: Axes) -> None:
    figures.spectrum(ax, [2, 1], label="users")
    figures.label_lines(ax)
    svg = drawn(ax)
    assert "<text" not in svg and "font-family" not in svg and "http://localhost" not in svg
    assert "fill: #ffffff" not in svg and "#000000" not in svg


def test_drawing_again_gives_the_same_bytes() -> None:
    pictures = []
    for _ in range(2):
        with matplotlib.rc_context():
            figures.use_style()
            axes = Figure().subplots()
            figures.trajectory(axes, range(9), np.random.default_rng(2).random((5, 9)), "users")
            figures.label_lines(axes)
            pictures.append(drawn(axes))
    assert pictures[0] == pictures[1]


def drawn(ax: Axes) -> str:
    file = io.StringIO()
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def test_table_has_thousands_separators_and_no_index() -> None:
    pytest.importorskip("IPython")
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"users": [29858], "rate": [0.5], "free": [True], "name": ["a<b"]})
    html = figures.table(frame).data
    assert "<td>29,858</td>" in html and "<td>0.5</td>" in html and "<td>True</td>" in html
    assert "a&lt;b" in html and "<th>0</th>" not in html


def test_a_row_of_a_table_leads_to_its_records() -> None:
    pytest.importorskip("IPython")
    pandas = pytest.importorskip("pandas")
    made = [record(experiment(seeds=(seed,))) for seed in (0, 1)]
    rows = [
        {"method": "a<b", "record": made[0], "x": 1},
        {"method": "both", "record": made, "x": 2},
        {"method": "not run yet", "record": None, "x": 3},
    ]
    for frame in (pandas.DataFrame(rows), pandas.DataFrame(rows).fillna("–")):
        html = figures.table(frame).data
        assert re.findall("<th>(.*?)</th>", html) == ["method", "x", ""]
        names = [re.findall('#record-(.*?)"', row) for row in html.split("<tr>")[1:]]
        assert names == [[made[0].name], [r.name for r in made], []]
        assert "a&lt;b" in html
    cut = figures.table(pandas.DataFrame(rows), keys=["method"], after=["x"]).data
    assert len(re.findall("<a ", cut)) == 3


def test_a_wide_table_is_cut_and_keeps_its_keys() -> None:
    pytest.importorskip("IPython")
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([["one", 2, 3, 4, 5]], columns=["run", "a", "b", "c", "d"])
    html = figures.table(frame, keys=["run"], after=["a", "c"]).data
    heads = [re.findall("<th>(.*?)</th>", part) for part in html.split("<table")[1:]]
    assert heads == [["run", "a"], ["run", "b", "c"], ["run", "d"]]
    cells = [re.findall("<td>(.*?)</td>", part) for part in html.split("<table")[1:]]
    assert cells == [["one", "2"], ["one", "3", "4"], ["one", "5"]]
    with pytest.raises(ValueError, match=r"no column \['e'\] in \['run', 'a'"):
        figures.table(frame, after=["e"])
    figures.table(pandas.DataFrame([]), keys=["run"], after=["a"])  # nothing run yet


def test_bad_arguments(ax: Axes) -> None:
    with pytest.raises(ValueError, match=r"values: shape \(1, 1, 1\)"):
        figures.spectrum(ax, [[[1.0]]])
    with pytest.raises(ValueError, match="normalise: 'x'"):
        figures.spectrum(ax, [1.0], normalise="x")
    with pytest.raises(ValueError, match="role: 'nobody', expected one of users"):
        figures.spectrum(ax, [1.0], role="nobody")
    with pytest.raises(ValueError, match=r"epochs: shape \(2,\), expected \(3,\)"):
        figures.trajectory(ax, [1, 2], [1, 2, 3])
