"""No result is typed into prose, and every theorem says how it was checked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prose import prose, typed_numbers

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "notebooks").glob("*.md"), *(ROOT / "book").glob("*.md")])
each_source = pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)

STATEMENT = re.compile(
    r"^(?P<fence>`{3,}|:{3,})\{prf:(?P<kind>theorem|lemma|proposition|corollary)\}[^\n]*\n"
    r"(?P<body>.*?)^(?P=fence)\s*$",
    re.S | re.M,
)


@each_source
def test_no_result_is_typed_into_prose(path: Path) -> None:
    found = [f"{path.name}:{line}: {number}" for line, number in typed_numbers(path.read_text())]
    assert not found, (
        "numbers typed into prose:\n  " + "\n  ".join(found) + "\nA result comes from its record, "
        "{result}`chapter/label:metric`, or from the cell that computed it, {glue:text}`name:.2f`. "
        "A number that is no result is marked {given}`95 %`."
    )


@each_source
def test_theorems_are_labelled_and_checked(path: Path) -> None:
    for statement in STATEMENT.finditer(path.read_text()):
        label = re.search(r"^:label: (\S+)$", statement["body"], re.M)
        assert label, f"{path.name}: a {statement['kind']} without :label:"
        assert f"{{checked}}`{label[1]}`" in statement["body"], (
            f"{path.name}: {label[1]} lacks its {{checked}}`{label[1]}`"
        )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The rank is 12.5 here.", [(1, "12.5")]),
        ("Two\nlines and 40 % of it.", [(2, "40 %")]),
        ("A rate of 1e-3 and .5 of it", [(1, "1e-3"), (1, ".5")]),
        ("Rank $0.5$, `0.5`, {given}`95 %`, {result}`01_a/b=0.1:m|.2f`.", []),
        ("$$\nx = 0.5\n$$ (eq-x)\n\nand 0.7", [(5, "0.7")]),
        ("---\nx: 0.5\n---\n\nSo 0.6.", [(5, "0.6")]),
        ("```{code-cell} ipython3\nx = 0.5\n```\n0.8 after", [(4, "0.8")]),
        ("```python\nx = 0.5\n```", []),
        ("````{prf:theorem} T\n:label: t-0.5\n\nAbout 0.3.\n````", [(4, "0.3")]),
        (":::{admonition} At 30 %\n:class: tip\nIt is 0.4\n:::", [(1, "30 %"), (3, "0.4")]),
        ("````{dropdown} P\n```python\n0.5\n```\n0.2\n````\n0.1", [(5, "0.2"), (7, "0.1")]),
        ("arXiv 2406.12032, Python 3.11 or 3.12, [x](http://a.b/1.2), section 3", []),
        ("\\begin{align}\n0.5\n\\end{align}\n", []),
    ],
)
def test_the_search_for_typed_numbers(text: str, expected: list[tuple[int, str]]) -> None:
    assert typed_numbers(text) == expected
    assert prose(text).count("\n") == text.rstrip("\n").count("\n")
