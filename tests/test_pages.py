"""The built pages: every link arrives, nothing is asked of the network, every picture has words.

They need the pages; `make test` builds them first, `make pages` does so by hand.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from browser import BROWSER, drawn
from bs4 import BeautifulSoup, Tag

HTML = Path(__file__).parents[1] / "_build" / "html"
FOUND = sorted(str(path.relative_to(HTML)) for path in HTML.rglob("*.html"))
PAGES = [page for page in FOUND if not page.startswith("_static/")]  # templates of the theme

pytestmark = [
    pytest.mark.page,
    pytest.mark.skipif(not PAGES, reason="there are no pages in _build/html: make pages"),
]
each_page = pytest.mark.parametrize("page", PAGES)
each_own_page = pytest.mark.parametrize("page", [p for p in PAGES if p.startswith("book/")])


@functools.cache
def parsed(page: str) -> BeautifulSoup:
    return BeautifulSoup((HTML / page).read_text("utf-8"), "html.parser")


@functools.cache
def anchors(page: str) -> set[str]:
    tags = parsed(page).find_all(True)
    return {str(t.get(key)) for t in tags for key in ("id", "name") if t.get(key)}


def article(page: str) -> Tag:
    found = parsed(page).find("article")
    assert isinstance(found, Tag)
    return found


def external(address: str | None) -> bool:
    return bool(address) and bool(re.match(r"(?:https?:)?//", str(address)))


@each_page
def test_every_link_inside_the_book_arrives(page: str) -> None:
    broken = []
    for tag in parsed(page).find_all(["a", "link", "img", "script"]):
        address = tag.get("href") or tag.get("src")
        parts = urlsplit(str(address or ""))
        if not address or parts.scheme or parts.netloc:
            continue
        target = HTML / page if not parts.path else (HTML / page).parent / unquote(parts.path)
        if not target.resolve().exists():
            broken.append(address)
        elif parts.fragment and tag.name == "a" and target.suffix == ".html":
            there = anchors(str(target.resolve().relative_to(HTML.resolve())))
            if unquote(parts.fragment) not in there:
                broken.append(address)
    assert not broken


@each_page
def test_no_request_leaves_the_page(page: str) -> None:
    loading = parsed(page).find_all(["script", "img", "iframe", "source", "video", "embed"])
    asked = [t.get("src") for t in loading if external(t.get("src"))]
    rels = {"stylesheet", "preload", "preconnect", "dns-prefetch", "icon", "modulepreload"}
    links = [t for t in parsed(page).find_all("link") if rels & set(t.get("rel") or [])]
    asked += [t.get("href") for t in links if external(t.get("href"))]
    styles = " ".join(t.get_text() for t in parsed(page).find_all("style"))
    assert not asked and not re.search(r"url\(\s*['\"]?(?:https?:)?//", styles)


@pytest.mark.parametrize("style", sorted(p.name for p in (HTML / "_static").rglob("*.css")))
def test_no_style_asks_the_network(style: str) -> None:
    for path in (HTML / "_static").rglob(style):
        outside = r"(?:url\(|@import)\s*['\"]?(?:https?:)?//"
        assert not re.search(outside, path.read_text("utf-8"))


@each_page
def test_only_pages_with_views_load_what_draws_them(page: str) -> None:
    loaded = [str(tag.get("src")).partition("?")[0] for tag in parsed(page).find_all("script")]
    script = [address for address in loaded if address.endswith("views.js")]
    assert len(script) == bool(parsed(page).select(".specrec-view"))
    for address in script:
        assert ((HTML / page).parent / address).with_name("plotly.min.js").exists()
    # What a view needs in Jupyter would ask the network, though nothing above sees it.
    assert not any("cdn.plot.ly" in tag.get_text() for tag in parsed(page).find_all("script"))


@each_own_page
def test_every_picture_is_described(page: str) -> None:
    for image in article(page).find_all("img"):
        words = str(image.get("alt") or "").strip()
        by_path = re.search(r"\.(?:png|svg|jpe?g|gif)$|^_?images/", words)
        assert len(words.split()) >= 3 and not by_path, (
            f"{image.get('src')} is described as {words!r}: give its cell "
            "`mystnb: {image: {alt: …}}` or its figure `:alt:`"
        )


@each_own_page
def test_nothing_is_left_unresolved(page: str) -> None:
    body = BeautifulSoup(str(article(page)), "html.parser")
    for code in body.find_all(["pre", "code"]):
        code.decompose()
    text = body.get_text()
    marks = r"\{[\w:.-]+\}`|\[no record\]|\[not checked\]|\bUnknown (?:role|directive)"
    left = re.search(marks, text)
    assert left is None, f"…{text[max(0, left.start() - 60) : left.end() + 60]}…"


@each_own_page
def test_an_executed_page_says_how_it_was_made(page: str) -> None:
    notebook = HTML.parents[1] / Path(page).with_suffix(".ipynb")
    if not notebook.exists():
        pytest.skip("not an executed page")
    assert article(page).select_one(".specrec-made") and article(page).select_one(".specrec-footer")
    made = json.loads(notebook.read_text("utf-8"))["metadata"]["specrec"]
    banner = article(page).select_one(".specrec-synthetic")
    assert (banner is not None) == (made["data"] == "synthetic")


@pytest.mark.skipif(BROWSER is None, reason="no chromium here to typeset the formulas")
@each_own_page
def test_every_formula_is_understood(page: str, tmp_path: Path) -> None:
    """MathJax, from the page's own files, knows every macro: it prints what it does not in red."""
    if not article(page).select(".math"):
        pytest.skip("no formulas")

    def plain(dom: BeautifulSoup) -> list[str]:
        formulas = dom.select("article .math")
        return [formula.get_text() for formula in formulas if not formula.find("mjx-container")]

    dom = drawn(HTML / page, tmp_path, "--disable-gpu", ready=lambda dom: not plain(dom))
    assert dom.select("article .math") and not plain(dom), "not typeset"
    errors = [str(error.get("data-mjx-error")) for error in dom.select("[data-mjx-error]")]
    unknown = [f.get_text() for f in dom.select('mjx-mtext[style*="red"], mtext[mathcolor="red"]')]
    assert not errors + unknown


def on_a_phone(name: str, watch: str, ready: str, tmp_path: Path) -> BeautifulSoup:
    """The page in a narrow window, once the script ``watch`` has written ``ready`` to its body."""
    page = HTML / "book" / f"{name}.html"
    watched = page.with_name("_watched.html")
    script = f"<script>{watch}</script></head>"
    watched.write_text(page.read_text("utf-8").replace("</head>", script, 1), "utf-8")
    try:
        return drawn(
            watched, tmp_path, "--disable-gpu", "--window-size=500,900",
            ready=lambda dom: dom.body.get(ready),
        )  # fmt: skip
    finally:
        watched.unlink()


@pytest.mark.skipif(BROWSER is None, reason="no chromium here to typeset the formulas")
def test_no_formula_begins_out_of_reach_on_a_phone(tmp_path: Path) -> None:
    """What is too wide scrolls from its beginning; left of its box it could not be scrolled to."""
    watch = """setInterval(() => {
      const boxes = [...document.querySelectorAll("article div.math")];
      const drawn = boxes.map(box => box.querySelector("mjx-container"));
      const left = element => element.getBoundingClientRect().left;
      if (drawn.every(Boolean)) {
        document.body.dataset.formulas = boxes.length;
        document.body.dataset.cut = boxes.filter((box, k) => left(drawn[k]) < left(box) - 1).length;
      }
    }, 500)"""
    dom = on_a_phone("04_directspec", watch, "data-cut", tmp_path)
    assert int(dom.body["data-formulas"]) > 10
    assert dom.body["data-cut"] == "0"


@pytest.mark.skipif(BROWSER is None, reason="no chromium here to draw the page")
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_figures_keep_letters_that_can_be_read_on_a_phone(mode: str, tmp_path: Path) -> None:
    """They are as wide in the dark as in the light, and scroll by themselves."""
    watch = f"""setInterval(() => {{
      document.documentElement.dataset.theme = "{mode}";
      const drawn = [...document.querySelectorAll("article figure img")];
      const narrow = drawn.filter(image => image.getBoundingClientRect().width < 540);
      document.body.dataset.figures = drawn.length;
      document.body.dataset.narrow = narrow.length;
    }}, 500)"""
    dom = on_a_phone("12_double_peak", watch, "data-narrow", tmp_path)
    assert int(dom.body["data-figures"]) > 5
    assert dom.body["data-narrow"] == "0"


@pytest.mark.skipif(BROWSER is None, reason="no chromium here to draw the views")
@each_own_page
def test_every_view_is_drawn(page: str, tmp_path: Path) -> None:
    """With plotly.js from the pages' own files; WebGL is that of chromium, without a GPU."""
    views = len(article(page).select(".specrec-view"))
    if not views:
        pytest.skip("no views")
    # A window so tall that none is too far away to be drawn.
    webgl = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]

    def live(dom: BeautifulSoup) -> bool:
        return len(dom.select(".specrec-view-live")) == views

    dom = drawn(HTML / page, tmp_path, *webgl, "--window-size=1000,30000", ready=live)
    notes = [note.get_text() for note in dom.select(".specrec-view-note:not([hidden])")]
    assert not notes and live(dom)
    assert len(dom.select(".specrec-view-live .js-plotly-plot")) == views
