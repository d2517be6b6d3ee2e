"""Every key that the library cites is in the book's bibliography."""

import re
from pathlib import Path

from specrec_core import datasets

ROOT = Path(__file__).resolve().parents[1]
KEYS = set(re.findall(r"^@\w+\{([^,]+),", (ROOT / "book/references.bib").read_text(), re.M))
CITED = re.compile(r"\[(?:bibtex: )?([a-z]+\d{4}[a-z]+)\]|\b([a-z]{3,}(?:19|20)\d\d[a-z]{2,})\b")


def test_keys_are_unique():
    entries = re.findall(r"^@\w+\{([^,]+),", (ROOT / "book/references.bib").read_text(), re.M)
    assert len(entries) == len(set(entries))


def test_data_sets_cite_what_there_is():
    for name in datasets.NAMES:
        if name not in datasets.MADE:
            assert set(datasets.info(name).citation) <= KEYS, name


def test_docstrings_cite_what_there_is():
    cited = {
        (path.name, first or second)
        for path in (ROOT / "specrec_core").glob("*.py")
        for first, second in CITED.findall(path.read_text())
    }
    assert cited, "no citation found: the pattern is wrong"
    assert not {(name, key) for name, key in cited if key not in KEYS}
