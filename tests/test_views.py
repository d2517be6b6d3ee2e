"""Views: what they hold, what they show before they are drawn, and that they ask no network."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from browser import BROWSER, drawn
from bs4 import BeautifulSoup, Tag
from matplotlib.colors import to_rgb
from PIL import Image
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from specrec_core import figures, view_frames, view_groups, view_stills, views

EXTENSIONS = Path(__file__).parents[1] / "book" / "_ext"
ALT = "Three needles leave the origin"


def cloud(n: int = 60, f: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, f)) * [1.0, 5.0, 0.2][:f]


def decoded(payload: dict[str, Any], row: int = 0, frame: int = 0) -> np.ndarray:
    """The points of a frame ``(n, f)``, as ``views.js`` reads them."""
    raw = base64.b64decode(payload["rows"][row]["frames"][frame]["points"])
    box = payload["box"]
    part = len(raw) // len(box)
    coded = [base64.b64encode(raw[i * part : (i + 1) * part]).decode() for i in range(len(box))]
    columns = [view_frames.unpacked(c, *ends) for c, ends in zip(coded, box, strict=True)]
    return np.column_stack(columns)


def turned(**given: Any) -> views.View:
    return views.turnable(**({"points": cloud(), "alt": ALT} | given))


def parsed(view: views.View) -> BeautifulSoup:
    return BeautifulSoup(view.html, "html.parser")


def image(view: views.View) -> Image.Image:
    still = parsed(view).select_one("img")
    assert isinstance(still, Tag)
    source = str(still["src"]).removeprefix("data:image/png;base64,")
    return Image.open(io.BytesIO(base64.b64decode(source))).convert("RGBA")


@pytest.mark.parametrize("f", [2, 3])
def test_points_are_kept_to_a_pixel_and_less(f: int) -> None:
    frames = [views.Frame("a", cloud(40, f)), views.Frame("b", 3 * cloud(40, f, 1) + 2)]
    payload = views.movable(frames, alt=ALT).payload()
    box = np.array(payload["box"])
    for number, frame in enumerate(frames):
        error = np.abs(decoded(payload, 0, number) - frame.points) / np.ptp(box, axis=1)
        assert 0 < error.max() <= 0.5 / 65535 + 1e-12
        assert (frame.points > box[:, 0]).all() and (frame.points < box[:, 1]).all()


def test_limits_hold_the_origin_unless_told_otherwise() -> None:
    frames = [views.Frame("", 10 + np.random.default_rng(0).random((9, 2)))]
    for origin in (True, False):
        view = views.movable(frames, alt=ALT, origin=origin)
        assert (np.array(view.payload()["box"])[:, 0] < 0).all() == origin


def test_fitted_frames_do_not_know_their_scale() -> None:
    a, b = ([views.Frame("", factor * cloud())] for factor in (1.0, 7.5))
    fitted = [views.movable(frames, alt=ALT, fit=True) for frames in (a, b)]
    np.testing.assert_allclose(*(decoded(view.payload()) for view in fitted), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(decoded(fitted[0].payload()), axis=1).max(), 1, 1e-4)
    assert views.movable(a, alt=ALT).html != views.movable(b, alt=ALT).html


def test_groups_have_colours_then_symbols_and_none_is_grey() -> None:
    labels = np.arange(-1, 14).repeat(4)
    payload = views.turnable(cloud(60), labels=labels, alt=ALT).payload()
    drawn = payload["layers"]
    assert [layer["name"] for layer in drawn] == ["others", *map(str, range(14))]
    assert drawn[0]["colour"] == figures.INK
    looks = [(layer["colour"], layer["symbol"]) for layer in drawn[1:]]
    assert len(set(looks)) == 14 and [c for c, _ in looks[:5]] == list(figures.PALETTE)
    codes = np.frombuffer(base64.b64decode(payload["common"]["codes"]), "u1")
    np.testing.assert_array_equal(codes, labels + 1)


def test_the_legend_orders_and_names() -> None:
    labels = np.array(["a", "b", "c"] * 20)
    view = views.turnable(
        cloud(), labels=labels, legend={"c": "<see>", "a": "ay", "b": "b"}, alt=ALT
    )
    keys = [key.get_text().split()[1] for key in parsed(view).select("[data-layer]")]
    assert keys == ["<see>", "ay", "b"]
    codes = np.frombuffer(base64.b64decode(view.payload()["common"]["codes"]), "u1")
    assert codes[:3].tolist() == [1, 2, 0]
    without = views.turnable(cloud(), labels=labels, legend={}, alt=ALT)
    assert not parsed(without).select("[data-layer]")


def test_values_share_one_scale_over_frames() -> None:
    frames = [views.Frame("", cloud(), values=np.linspace(0, 1, 60) + i) for i in range(3)]
    view = views.movable(frames, alt=ALT, legend="norm")
    scale = view.payload()["scale"]
    assert (scale["low"], scale["high"]) == (0, 3)
    second = view.payload()["rows"][0]["frames"][1]["values"]
    np.testing.assert_allclose(view_frames.unpacked(second, 0, 3), frames[1].values, atol=3 / 65535)
    assert "norm 0" in parsed(view).select(".specrec-view-legend")[0].get_text()


def luminance(colour: Any) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_every_colour_of_the_scale_is_seen_on_both_papers() -> None:
    shades = view_groups.Scale(0, 1, "").shades(np.linspace(0, 1, 65))
    assert len(set(shades)) > 50
    for shade in shades:
        on_white = 1.05 / (luminance(shade) + 0.05)
        on_black = (luminance(shade) + 0.05) / (luminance("#121212") + 0.05)
        assert min(on_white, on_black) > 3


def test_highlights_may_move_and_outlast_a_frame_without() -> None:
    frames = [views.Frame("a", cloud(), highlight={"peaks": [3, 5]}), views.Frame("b", cloud())]
    payload = views.movable(frames, alt=ALT).payload()
    assert payload["layers"][payload["groups"]]["name"] == "peaks"
    assert [frame["marks"] for frame in payload["rows"][0]["frames"]] == [[[3, 5]], [[]]]


def test_what_stays_the_same_is_written_once() -> None:
    frames = [views.Frame(str(i), cloud(seed=i)) for i in range(4)]
    payload = views.movable(frames, labels=np.arange(60) % 3, alt=ALT).payload()
    assert set(payload["common"]) == {"codes", "values", "marks"}
    frames[2] = views.Frame("2", cloud(), labels=np.zeros(60, int))
    payload = views.movable(frames, labels=np.arange(60) % 3, alt=ALT).payload()
    codes = [each["codes"] for each in payload["rows"][0]["frames"]]
    assert codes[0] == codes[1] == codes[3] != codes[2]


def test_nothing_that_is_written_becomes_markup() -> None:
    bad = '</script><img src=x onerror="x"> & %{text}'
    frame = views.Frame(bad, cloud(3), bad, labels=[bad, "b", "b"], highlight={bad: [0]})
    view = views.movable({bad: [frame], "b": [frame]}, names=[bad, "b", "c"], title=bad, alt=bad)
    page = parsed(view)
    assert len(page.select("script")) == 1 and len(page.select("img")) == 1
    assert page.select_one("img")["alt"] == bad  # type: ignore[index]
    assert page.select_one(".specrec-view-caption").get_text() == bad  # type: ignore[union-attr]
    assert "<" not in view.payload()["names"][0].replace("<br>", "")


def test_long_names_are_broken_and_short_ones_kept() -> None:
    long, two = " ".join(["word"] * 30), "Song – Artist\ntag, tag"
    view = views.turnable(cloud(2), names=[long, two], alt=ALT)
    first, second = view.payload()["names"]
    assert max(map(len, first.split("<br>"))) <= view_frames.LETTERS
    assert first.replace("<br>", " ") == long and second == "Song – Artist<br>tag, tag"


def test_the_menu_the_slider_and_the_first_picture() -> None:
    rows = {
        "α": [views.Frame(f"{i}", cloud(seed=i), f"caption {i}") for i in range(5)],
        "β": [views.Frame("x", cloud(seed=9))],
    }
    view = views.movable(rows, alt=ALT, start={"α": 3})
    page = parsed(view)
    assert [option.get_text() for option in page.select("option")] == ["α", "β"]
    slider = page.select_one("input[type=range]")
    assert slider is not None and (slider["max"], slider["value"]) == ("4", "3")
    for shown in page.select(".specrec-view-caption, .specrec-view-paper:nth-of-type(2)"):
        assert shown.get_text() == "caption 3"
    assert [row["start"] for row in view.payload()["rows"]] == [3, 0]
    alone = views.movable([rows["α"][3]], alt=ALT, camera=view.payload()["camera"])
    assert not parsed(alone).select("select")


def test_who_does_not_see_is_told_once() -> None:
    page = parsed(views.turnable(cloud(), alt='Needles "leave" the origin'))
    said = [
        tag for tag in page.find_all(True) if 'Needles "leave" the origin' in tag.attrs.values()
    ]
    # The one is hidden as the other is shown.
    assert [tag["class"] for tag in said] == [["specrec-view-still"], ["specrec-view-stage"]]
    assert said[1]["tabindex"] == "0" and page.select_one("noscript") is not None


def test_five_thousand_named_points_are_small() -> None:
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz     "))
    names = ["".join(rng.choice(letters, 45)) for _ in range(5000)]  # no text compresses worse
    view = views.turnable(rng.standard_normal((5000, 3)), names=names, alt=ALT)
    assert len(view._repr_html_().encode()) < 400_000


def test_the_same_input_is_the_same_bytes_in_another_process() -> None:
    code = (
        "import numpy as np; from specrec_core import views\n"
        "points = np.random.default_rng(0).standard_normal((50, 3))\n"
        f"view = views.turnable(points, labels=list('abcde') * 10, alt={ALT!r}, "
        "highlight={'b': [1], 'a': [2]}, names=list('12345') * 10)"
    )
    seed = {"PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", f"{code}\nprint(view._repr_html_())"]
    done = subprocess.run(
        command, env=os.environ | seed, capture_output=True, text=True, check=True
    )
    here: dict[str, Any] = {}
    exec(code, here)
    assert done.stdout == here["view"]._repr_html_() + "\n"
    ids = [parsed(view).select_one("div")["id"] for view in (here["view"], turned())]  # type: ignore
    assert len(set(ids)) == 2


def test_the_style_of_the_figures_around_it_does_not_matter() -> None:
    frames = [views.Frame("", cloud(f=2))]
    plain = views.movable(frames, axes=("x", "y"), alt=ALT)
    with matplotlib.rc_context():
        figures.use_style()
        assert views.movable(frames, axes=("x", "y"), alt=ALT) == plain


def reference_projection(points: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """The matrices of a camera that looks at 0 with z up, and of a lens of 45°."""
    z = eye / np.linalg.norm(eye)
    x = np.cross([0, 0, 1], z)
    x /= np.linalg.norm(x)
    look = np.eye(4)
    look[:3, :3] = [x, np.cross(z, x), z]
    look[:3, 3] = -look[:3, :3] @ eye
    t = 1 / np.tan(np.pi / 8)
    lens = np.array([[t, 0, 0, 0], [0, t, 0, 0], [0, 0, -1.001, -0.02], [0, 0, -1, 0]])
    flat = lens @ look @ np.vstack([points.T, np.ones(len(points))])
    return (flat[:2] / flat[3]).T


@pytest.mark.parametrize("camera", [(35.0, 20.0), (-120.0, -40.0), (0.0, 80.0)])
def test_the_still_picture_has_the_camera_of_plotly(camera: tuple[float, float]) -> None:
    points, box = cloud(), np.array([[-4.0, 5.0], [-20.0, 12.0], [-1.0, 1.0]])
    a, e = np.deg2rad(camera)
    eye = view_stills.DISTANCE * np.array([np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)])
    placed = (points - box.mean(axis=1)) * view_stills.RADIUS / 30.0
    found = view_stills.projected(points, box, 30.0, camera)
    np.testing.assert_allclose(found[:, :2], reference_projection(placed, eye), atol=1e-12)
    np.testing.assert_allclose(found[:, 2], eye @ (eye - placed).T / view_stills.DISTANCE)


def test_all_is_in_sight_at_first_and_after_a_step_back() -> None:
    _in_sight(cloud(500), None)
    end_on = np.linspace(0, 1, 50)[:, None] * [1.0, 0.01, 0.01]
    _in_sight(end_on, (0.0, 0.0))


def _in_sight(points: np.ndarray, camera: tuple[float, float] | None) -> None:
    payload = turned(points=points, camera=camera).payload()
    box, reach = np.array(payload["box"]), view_stills.RADIUS / payload["unit"]
    azimuth, elevation = payload["camera"]
    assert np.abs(view_stills.projected(points, box, reach, (azimuth, elevation))[:, :2]).max() < 1
    ball = np.linalg.norm(points - box.mean(axis=1), axis=1).max()
    assert reach > 0.6 * ball  # two steps back are enough
    for angle in range(0, 360, 10):
        seen = view_stills.projected(points, box, max(reach, ball), (angle, elevation))
        assert np.abs(seen[:, :2]).max() < 1
    spread = [
        view_stills.projected(points, box, reach, (angle, elevation))[:, :2].var(axis=0).sum()
        for angle in (azimuth, azimuth + 45, azimuth + 90)
    ]
    assert camera or spread[0] == max(spread)


@pytest.mark.parametrize("f", [2, 3])
def test_the_still_picture_shows_the_points_on_clear_paper(f: int) -> None:
    view = views.movable(
        [views.Frame("", cloud(400, f))], labels=np.arange(400) % 2, alpha=1.0, alt=ALT
    )
    pixels = np.asarray(image(view)).reshape(-1, 4)
    assert (pixels[:, 3] == 0).mean() > 0.5
    solid = pixels[pixels[:, 3] > 250, :3].astype(float)
    for colour in figures.PALETTE[:2]:
        near = np.abs(solid - 255 * np.array(to_rgb(colour))).max(axis=1) < 16
        assert near.sum() > 200
    assert not (np.abs(solid - 255 * np.array(to_rgb(figures.RED))).max(axis=1) < 16).any()


def test_the_still_picture_gives_each_point_its_own_value() -> None:
    points = np.random.default_rng(0).random((300, 2))
    frames = [views.Frame("", points, values=points[:, 0])]
    pixels = np.asarray(image(views.movable(frames, alpha=1.0, alt=ALT))).astype(float)
    blue, orange = (255 * np.array(to_rgb(c)) for c in (figures.BLUE, figures.ORANGE))
    at = [np.nonzero(np.abs(pixels[..., :3] - c).max(axis=2) < 24)[1] for c in (blue, orange)]
    assert min(map(len, at)) > 100 and at[0].max() < at[1].min()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"alt": "Needles"}, "alt: 'Needles', expected three words"),
        ({"points": cloud(f=2)}, r"points: shape \(60, 2\), expected \(n, 3\)"),
        ({"points": np.zeros((0, 3))}, "points: shape .*, not empty"),
        ({"points": np.full((60, 3), np.nan)}, "points: some are infinite"),
        ({"labels": [1, 2]}, r"labels: shape \(2,\), expected \(60,\)"),
        ({"labels": np.arange(60)}, "labels: 60 groups, expected at most 20"),
        ({"labels": np.zeros(60), "values": np.zeros(60)}, "expected one of them"),
        ({"labels": np.zeros(60), "legend": {1: "one"}}, "legend: no name for 0.0"),
        ({"labels": np.zeros(60), "legend": "norm"}, "legend: a string"),
        ({"values": np.zeros(60), "legend": {0: "no"}}, "legend: a mapping"),
        ({"values": np.full(60, np.inf)}, "values: some are infinite"),
        ({"names": ["a"]}, "names: 1 of them for 60 points"),
        ({"size": np.ones(3)}, "size: 3 of them for 60 points"),
        ({"size": 0}, "size: expected a number above zero"),
        ({"alpha": 0}, "alpha: 0.0"),
        ({"axes": ("x", "y")}, "axes: .* expected 3 names"),
        ({"lines": [np.zeros((2, 2))]}, r"lines: expected finite arrays \(k, 3\)"),
        ({"highlight": {"peaks": [60]}}, "highlight: 'peaks' has rows outside 0 … 59"),
    ],
)
def test_bad_arguments_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        turned(**given)


@pytest.mark.parametrize(
    ("frames", "given", "message"),
    [
        ([], {}, "frames: expected at least one frame"),
        ({"a": [views.Frame("", cloud())], "b": []}, {}, "frames: expected at least one frame"),
        ([views.Frame("", cloud()), views.Frame("", cloud(f=2))], {}, "some have 2 and some 3"),
        ([views.Frame("", cloud())], {"start": 1}, "start: 1, expected a position in 0 … 0"),
        ([views.Frame("", cloud()), views.Frame("", cloud(), labels=np.zeros(60))], {}, "the same"),
    ],
)
def test_bad_frames_are_named(frames: Any, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        views.movable(frames, alt=ALT, **given)


def test_the_version_outside_the_book_is_the_one_inside() -> None:
    from plotly.offline import get_plotlyjs_version

    assert get_plotlyjs_version() == views.PLOTLY_JS and views.PLOTLY_JS in views.CDN
    view = views.turnable(cloud(), alt=ALT)
    assert views.CDN in view._repr_html_() and "http" not in view.html


def pages(folder: Path, view: views.View) -> Path:
    """A small book of one page with a view, as a cell shows it, and one without."""
    source = folder / "source"
    (source / "book").mkdir(parents=True)
    (source / "index.md").write_text("# Without\n\n```{toctree}\nbook/with\n```\n")
    raw = f"````{{raw}} html\n{view._repr_html_()}\n````\n"
    (source / "book" / "with.md").write_text(f"# With\n\n{raw}")
    sys.path.insert(0, str(EXTENSIONS))
    settings = {"extensions": ["myst_parser", "specrec_views"]}
    warnings = io.StringIO()
    with docutils_namespace():
        folders = (source, None, folder / "html", folder / "trees")
        Sphinx(*folders, "html", settings, status=None, warning=warnings).build()
    assert not warnings.getvalue()
    return folder / "html"


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = [views.Frame("a", cloud(30, 2), "here"), views.Frame("b", cloud(30, 2, 1), "there")]
    view = views.movable(frames, labels=np.arange(30) % 3, alt=ALT)
    return pages(tmp_path_factory.mktemp("book"), view)


def test_only_a_page_with_a_view_loads_what_draws_it(html: Path) -> None:
    loaded = {}
    for page in ("index.html", "book/with.html"):
        parts = BeautifulSoup((html / page).read_text("utf-8"), "html.parser")
        tags = parts.find_all(["script", "link"])
        loaded[page] = [str(t.get("src") or t.get("href")).partition("?")[0] for t in tags]
    assert not any("views" in address for address in loaded["index.html"])
    assert "../_static/views.js" in loaded["book/with.html"]
    assert "../_static/views.css" in loaded["book/with.html"]
    for name in ("views.js", "views.css", "plotly.min.js"):
        assert (html / "_static" / name).stat().st_size > 0


def test_no_page_holds_what_asks_the_network(html: Path) -> None:
    page = (html / "book" / "with.html").read_text("utf-8")
    assert "specrec-view-stage" in page and "cdn.plot.ly" not in page
    assert "specrecPlotly" not in page and views.OUTSIDE not in page


@pytest.mark.skipif(BROWSER is None, reason="no chromium here to draw it")
def test_a_browser_draws_it_without_a_network(html: Path, tmp_path: Path) -> None:
    live = ".specrec-view-live"
    file = html / "book" / "with.html"
    page = drawn(file, tmp_path, "--disable-gpu", ready=lambda page: page.select_one(live))
    assert page.select_one(live) is not None
    assert len(page.select(".scatterlayer .point")) == 30
    assert page.select_one(".specrec-view-sliders:not([hidden])") is not None
