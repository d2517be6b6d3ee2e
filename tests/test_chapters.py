"""The chapters as they are in git: pairs in sync, pages executed without a fault."""

from __future__ import annotations

import nbformat
import pytest
import yaml

from specrec_core import catalogue, weaving
from specrec_core.weaving import Book

BOOK = Book()
CHAPTERS = BOOK.chapters()
each_chapter = pytest.mark.parametrize("chapter", CHAPTERS)


def test_the_contents_have_every_chapter() -> None:
    toc = yaml.safe_load((BOOK.root / "_toc.yml").read_text("utf-8"))
    listed = {entry["file"] for part in toc["parts"] for entry in part["chapters"]}
    assert {f"book/{chapter}" for chapter in CHAPTERS} <= listed
    assert set(catalogue.chapters()) <= set(CHAPTERS)


@each_chapter
def test_pair_is_in_sync(chapter: str) -> None:
    pair = nbformat.read(BOOK.pair(chapter), as_version=4)
    remedy = f"run: python -m specrec_core.book pair (or jupytext --sync notebooks/{chapter}.md)"
    assert weaving.written(pair) == weaving.written(weaving.read_text(BOOK, chapter)), remedy


@each_chapter
def test_pair_has_no_outputs(chapter: str) -> None:
    pair = nbformat.read(BOOK.pair(chapter), as_version=4)
    code = [cell for cell in pair.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code), (
        "never execute in place: papermill writes to another path, `make book` to book/"
    )


@each_chapter
def test_page_is_the_chapter_executed(chapter: str) -> None:
    page, text = weaving.read_page(BOOK, chapter), weaving.read_text(BOOK, chapter)
    assert page is not None, f"book/{chapter}.ipynb is missing: make book"
    assert weaving.written(page) == weaving.written(text), "older than its text: make book"
    code = [cell for cell in page.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code if cell.source.strip())
    assert set(page.metadata.specrec) >= {"fingerprint", "profile", "device", "data", "versions"}


@each_chapter
def test_page_has_neither_errors_nor_warnings(chapter: str) -> None:
    page = weaving.read_page(BOOK, chapter)
    assert page is not None
    outputs = [o for c in page.cells if c.cell_type == "code" for o in c.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    assert not [o.text for o in outputs if o.get("name") == "stderr"], "on the page as noise"


@each_chapter
def test_parameters_can_be_set_by_papermill(chapter: str) -> None:
    own = weaving.defaults(weaving.read_text(BOOK, chapter))
    assert own.get("profile", "quick") == "quick", "a reader gets the quick run"
    if chapter in catalogue.chapters() and catalogue.datasets(chapter):
        assert {"profile", "device", "data"} <= set(own)
        assert own["data"] == "real", "nothing is swapped unless somebody says so"
