"""The book's own roles and directives, in a tiny book built by Sphinx."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from specrec_core import catalogue, claims, records
from specrec_core.records import Experiment, Record

EXTENSIONS = Path(__file__).parents[1] / "book" / "_ext"
sys.path.insert(0, str(EXTENSIONS))

from specrec_numbers import typeset  # noqa: E402
from specrec_results import show  # noqa: E402

RECORD = Record(
    experiment=Experiment(dataset="made", version="1", dim=4, epochs=1, seeds=(0, 1, 2)),
    metrics={"ndcg@10": [0.145, 0.146, 0.147], "rank": [12.0, 12.5, 13.0]},
    selected_epoch=[1, 1, 1],
    epochs_run=[1, 1, 1],
    history={},
    spectrum={},
    seconds=[1.0, 1.0, 1.0],
    device="cpu",
    profile="paper",
    versions={"torch": "2.13.0"},
    data={"train": 30},
)
CHAPTER = catalogue.Chapter(
    "A chapter",
    suite=lambda profile, data: {"run d=4": RECORD.experiment},
    verdicts=(
        claims.Claim(r"It holds for $d = 4$", ("run d=4",), lambda r: (True, "12.5 of 13")),
        claims.Claim("It does not", ("run d=4",), lambda r: (False, "no")),
    ),
)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A book's results with one record and one passed check, and a catalogue that knows them."""
    folder = tmp_path / "results"
    monkeypatch.setattr(records, "PUBLISHED", folder)
    monkeypatch.setenv("SPECREC_RESULTS", str(folder))
    monkeypatch.setattr(catalogue, "chapters", lambda: {"01_a": CHAPTER})
    RECORD.save(folder)
    checks = {"thm-a": {"tests": ["tests/test_t.py::test_a"], "cases": 1200}}
    (folder / "checks.json").write_text(json.dumps(checks))
    return folder


def built(
    tmp_path: Path, text: str, made: dict[str, object] | None = None
) -> tuple[BeautifulSoup, str]:
    """The page of ``text`` beside a list of records, and the warnings of the build.

    ``made`` says how chapter 01_a was executed.
    """
    source, warnings = tmp_path / "source", io.StringIO()
    (source / "book").mkdir(parents=True)
    contents = "```{toctree}\nrecords\nbook/01_a\n```"
    (source / "index.md").write_text(f"# Page\n\n{text}\n\n{contents}\n")
    (source / "records.md").write_text("# Records\n\n```{record-list}\n```\n")
    (source / "book" / "01_a.md").write_text("# A\n")
    if made:
        page = {"metadata": {"specrec": made}}
        (source / "book" / "01_a.ipynb").write_text(json.dumps(page))
    own = [f"specrec_{x}" for x in ("results", "numbers", "checks", "verdicts", "pages", "maths")]
    settings = {
        "extensions": ["myst_parser", "sphinx_design", "sphinx.ext.mathjax", *own],
        "myst_enable_extensions": ["dollarmath"],
    }
    folders = (source, None, tmp_path / "html", tmp_path / "trees")
    with docutils_namespace():
        Sphinx(*folders, "html", settings, status=None, warning=warnings).build()
    page = BeautifulSoup((tmp_path / "html" / "index.html").read_text("utf-8"), "html.parser")
    return page, warnings.getvalue()


def test_a_result_is_its_record_and_leads_to_it(published: Path, tmp_path: Path) -> None:
    page, warnings = built(tmp_path, "It is {result}`01_a/run d=4:ndcg@10|.3f`.")
    assert not warnings
    link = page.select_one("a.specrec-result")
    assert link is not None and link.get_text() == "0.146 ± 0.002"
    assert link["href"] == f"records.html#record-{RECORD.name}"
    assert "seeds 0, 1, 2" in link["title"] and "cpu" in link["title"]
    listed = BeautifulSoup((tmp_path / "html" / "records.html").read_text("utf-8"), "html.parser")
    row = listed.find(id=f"record-{RECORD.name}")
    assert row is not None and "run d=4" in row.find_parent("tr").get_text()
    assert row.find_parent("table").find_previous("p", class_="rubric").get_text() == "01_a"


def test_a_formula_keeps_the_sign_that_follows(published: Path, tmp_path: Path) -> None:
    page, warnings = built(tmp_path, "With $x$, and ($y$) or $z$ of them, *$v$*.")
    assert not warnings
    together = [tag.get_text() for tag in page.select(".specrec-together")]
    assert together == [r"\(x\),", r"\(y\))"]
    text = page.select_one(".body p").get_text()
    assert text == r"With \(x\), and (\(y\)) or \(z\) of them, \(v\)."
    page, _ = built(tmp_path / "same", "*x*, $b$, $c$.")  # two texts that say the same
    assert page.select_one(".body p").get_text() == r"x, \(b\), \(c\)."


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("{result}`01_a/run d=4:recall@10`", "the record has ndcg@10, rank"),
        ("{result}`01_a/run d=8:ndcg@10`", "01_a has run d=4"),
        ("{result}`02_b/run d=4:ndcg@10`", "expected one of 01_a"),
        ("{result}`ndcg@10`", "expected chapter/label:metric"),
        ("{checked}`thm-b`", "theorem 'thm-b' has no passed test"),
        ("```{verdicts} 02_b\n```", "expected one of 01_a"),
    ],
)
def test_what_is_not_there_is_a_warning(
    published: Path, tmp_path: Path, text: str, warning: str
) -> None:
    assert warning in built(tmp_path, text)[1]


def test_a_result_without_record_is_a_warning(published: Path, tmp_path: Path) -> None:
    (published / f"{RECORD.name}.json").unlink()
    page, warnings = built(tmp_path, "It is {result}`01_a/run d=4:ndcg@10`.")
    assert "there is no record yet" in warnings and "[no record]" in page.get_text()


def test_checks_verdicts_and_the_status_board(published: Path, tmp_path: Path) -> None:
    text = "{checked}`thm-a` {given}`95 %`\n\n```{verdicts} 01_a\n```\n\n```{status-board}\n```"
    page, warnings = built(tmp_path, text)
    assert not warnings
    said = " ".join(page.get_text().split())
    assert "checked numerically on 1,200 random cases by tests/test_t.py::test_a" in said
    assert "evidence, not proof" in said and "95 %" in said
    verdicts, board = page.select("table.specrec-verdicts, table.specrec-board")
    badges = [badge.get_text() for badge in verdicts.select(".specrec-verdict")]
    assert badges == ["✓ reproduced", "✗ deviates"]
    assert verdicts.select_one(".math") is not None
    assert "not executed yet" in board.get_text() and "1 of 1" in board.get_text()
    assert "1 of 1 experiments have been run" in said and "about 0 hours" in said
    counts = [badge.get_text() for badge in board.select(".specrec-verdict")]
    assert counts == ["✓ 1 reproduced", "✗ 1 deviates"]


@pytest.mark.parametrize("data", ["real", "synthetic"])
def test_pages_say_how_they_were_made(published: Path, tmp_path: Path, data: str) -> None:
    made: dict[str, object] = {"profile": "quick", "device": "cpu", "data": data}
    made |= {"parameters": {"profile": "quick"}, "versions": {"torch": "2.13.0"}}
    first, _ = built(tmp_path, "Text.", {**made, "fingerprint": "f00"})
    html = (tmp_path / "html" / "book" / "01_a.html").read_text("utf-8")
    page = BeautifulSoup(html, "html.parser")
    head, foot = page.select_one(".specrec-made"), page.select_one(".specrec-footer")
    assert head is not None and f"profile quick · cpu · {data} data" in head.get_text()
    assert foot is not None and "torch 2.13.0" in foot.get_text() and "f00" in foot.get_text()
    for anywhere in (page, first):
        assert bool(anywhere.select(".specrec-synthetic")) == (data == "synthetic")


@pytest.mark.parametrize(
    ("values", "spec", "expected"),
    [
        ([0.145, 0.146, 0.147], None, "0.1460 ± 0.0025"),
        ([12.0, 12.5, 13.0], None, "12.5 ± 1.2"),
        ([120.0, 125.0, 130.0], ".0f", "125 ± 12"),
        ([0.14567], None, "0.1457 (one seed)"),
        ([51000.0, 52000.0, 53000.0], None, "52,000 ± 2484"),
        ([2.0, 2.0], None, "2 ± 0"),
        ([0.21130, 0.21134, 0.21138], None, "0.2113 ± 0.0001"),
        ([0.00113, 0.00114, 0.00115], None, "0.001140 ± 0.000025"),
    ],
)
def test_as_many_digits_as_the_interval_supports(
    values: list[float], spec: str | None, expected: str
) -> None:
    assert show(values, spec) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-17% ± 11%", "−17\u00a0% ± 11\u00a0%"),
        ("(-0.491) and 5 %", "(−0.491) and 5\u00a0%"),
        ("-0.0%, -0.00 ± 0.02, −0.0, +0.0%", "0.0\u00a0%, 0.00 ± 0.02, 0.0, 0.0\u00a0%"),
        ("-0.04 and -0.30", "−0.04 and −0.30"),
        ("ml-100k, 2024-05-03, 10-20, 1e-5, x-1", "ml-100k, 2024-05-03, 10-20, 1e-5, x-1"),
    ],
)
def test_numbers_look_alike(text: str, expected: str) -> None:
    assert typeset(text) == expected


def test_code_is_left_as_it_is_typed(published: Path, tmp_path: Path) -> None:
    page, warnings = built(tmp_path, "From `-1 %` and $-2$ to -3% or {given}`-4 %`, {given}`5` %.")
    assert not warnings
    assert "−3\u00a0% or −4\u00a0%, 5\u00a0%." in page.get_text()
    assert page.select_one("code").get_text() == "-1 %"


def test_what_rows_share_is_said_once_and_groups_are_folded(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, note = "Somebody et al. 2024, in some words", "a note which is too long for each row"
    rows = tuple(
        claims.Claim(f"{k}", ("run d=4",), lambda r: (True, "yes"), source + later, note, group)
        for k, (later, group) in enumerate([("", ""), (claims.LATER, ""), ("", "Settings")])
    )
    chapter = catalogue.Chapter("A", suite=CHAPTER.suite, verdicts=rows)
    monkeypatch.setattr(catalogue, "chapters", lambda: {"01_a": chapter})
    page, warnings = built(tmp_path, "```{verdicts} 01_a\n```")
    assert not warnings
    said = page.get_text()
    assert said.count(source) == said.count(note) == 1
    assert said.count("asked after a look at the runs") == 1
    plain, grouped = page.select("table.specrec-verdicts")
    cells = [[cell.get_text(strip=True) for cell in row.select("td")] for row in plain.select("tr")]
    assert cells[1:] == [
        ["0b", "claima", "yes", "✓ reproduced"],
        ["1b", "claima†", "yes", "✓ reproduced"],
    ]
    fold = grouped.find_parent("details")
    assert fold is not None and len(grouped.select("tbody tr")) == 1
    assert fold.find("summary").get_text(" ", strip=True) == "Settings ✓ 1 reproduced"
