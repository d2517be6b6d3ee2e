"""The pages that document the library: every module for users is on one, and examples run."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "book").glob("library*.md"))
OF_THE_BOOK = r"""
    book|weaving|made_from|sweep|scheduling|estimates|part\d\w*|\w+_suites|\w+_claims|baselines
    |study_\w+|running|building|memory|parts|chunks|lanes|steps|replicas|item_names|registry
    |readers|fetching|view_\w+|labels|protocol|crew|speed|arguments|json_files|digits|progress|wording
"""


def test_every_module_is_on_one_page_or_the_book_s_own():
    on_pages = [
        name
        for page in PAGES
        for name in re.findall(r"automodule:: specrec_core\.(\w+)", page.read_text("utf-8"))
    ]
    modules = {path.stem for path in (ROOT / "specrec_core").glob("[a-z]*.py")}
    own = {name for name in modules if re.fullmatch(OF_THE_BOOK, name, re.VERBOSE)}
    assert sorted(on_pages) == sorted(modules - own)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_examples_run(page):
    examples = re.findall(r"(?ms)^```python\n(.*?)^```", page.read_text("utf-8"))
    assert examples
    code = "\n".join(examples)  # a later one may go on with what an earlier one made
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_docstrings_cite_works_and_show_examples_of_modules():
    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    from specrec_library import prepare

    app = SimpleNamespace(config=SimpleNamespace(specrec_works={"he2020lightgcn", "rendle2009bpr"}))
    lines = [
        "As in [rendle2009bpr, he2020lightgcn], values in [0, 1].",
        "",
        "    fit(model)",
        "",
        "End",
    ]
    prepare(app, "module", "", None, None, lines)
    cited = "As in :cite:p:`rendle2009bpr,he2020lightgcn`, values in [0, 1]."
    assert lines == [cited, "", "::", "", "    fit(model)", "", "End"]
    lines = [":ivar n, f: Sizes [unknown2020work]."]
    prepare(app, "class", "", None, None, lines)
    assert lines == [":ivar n,f: Sizes [unknown2020work]."]
