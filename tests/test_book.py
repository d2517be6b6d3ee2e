"""The runner of the book, on a tiny book of its own that really is executed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from specrec_core import book, made_from, weaving
from specrec_core.weaving import Book, BookError

CHAPTER = """---
jupytext:
  formats: ipynb,md:myst
  text_representation: {extension: .md, format_name: myst, format_version: 0.13}
kernelspec: {display_name: Python 3, language: python, name: python3}
---

# A chapter

The first prose.

```{code-cell} ipython3
:tags: [parameters]

profile: str = "quick"  # quick or paper
data: str = "real"  # real or synthetic
```

```{code-cell} ipython3
import os, sys

with open("executions", "a") as log:
    log.write("x")
sys.stderr.write("\\r 10 %")
print("answer", 6 * 7, profile, data)
```
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Book:
    for folder in ("notebooks", "book", "specrec_core"):
        (tmp_path / folder).mkdir()
    (tmp_path / "specrec_core" / "answer.py").write_text("ANSWER = 42\n")
    (tmp_path / "notebooks" / "01_a.md").write_text(CHAPTER)
    return Book(tmp_path)


def executions(tiny: Book) -> int:
    log = tiny.root / "executions"
    return len(log.read_text()) if log.exists() else 0


def rewrite(tiny: Book, old: str, new: str) -> None:
    text = tiny.text("01_a")
    assert old in text.read_text()
    text.write_text(text.read_text().replace(old, new))


def page(tiny: Book) -> nbformat.NotebookNode:
    return nbformat.read(tiny.page("01_a"), as_version=4)


def printed(tiny: Book) -> str:
    outputs = [o for c in page(tiny).cells if c.cell_type == "code" for o in c.outputs]
    return "".join(o.text for o in outputs)


def test_executes_what_changed_and_no_more(tiny: Book, capsys: pytest.CaptureFixture[str]) -> None:
    book.run(tiny)
    assert executions(tiny) == 1
    assert printed(tiny) == "answer 42 quick real\n"  # and not the progress bar
    made = page(tiny).metadata.specrec
    assert (made.profile, made.data, made.parameters.profile) == ("quick", "real", "quick")
    assert made.versions["numpy"]
    first = tiny.page("01_a").read_bytes()

    book.run(tiny)
    assert executions(tiny) == 1 and tiny.page("01_a").read_bytes() == first
    assert "up to date" in capsys.readouterr().out

    rewrite(tiny, "The first prose.", "Better prose.")
    book.run(tiny)
    assert executions(tiny) == 1 and "answer 42" in printed(tiny)
    assert "Better prose." in page(tiny).cells[0].source
    assert "outputs kept" in capsys.readouterr().out

    (tiny.root / "specrec_core" / "answer.py").write_text("ANSWER = 43\n")
    book.run(tiny)
    assert executions(tiny) == 2

    rewrite(tiny, "6 * 7", "6 * 8")
    book.run(tiny)
    assert executions(tiny) == 3 and "answer 48" in printed(tiny)

    book.run(tiny, profile="paper")
    assert executions(tiny) == 4 and "answer 48 paper" in printed(tiny)


def test_executing_again_changes_nothing_in_the_page(tiny: Book) -> None:
    book.run(tiny)
    first = tiny.page("01_a").read_bytes()
    book.run(tiny, force=True)
    assert executions(tiny) == 2 and tiny.page("01_a").read_bytes() == first
    raw = json.loads(first)
    assert "papermill" not in raw["metadata"]
    assert not any({"papermill", "execution"} & set(c["metadata"]) for c in raw["cells"])
    injected = [c for c in raw["cells"] if "injected-parameters" in c["metadata"].get("tags", [])]
    assert [c["metadata"]["tags"] for c in injected] == [["injected-parameters", "remove-cell"]]


def test_a_fresh_clone_executes_a_published_page_once(tiny: Book) -> None:
    book.run(tiny)
    (tiny.root / "_build" / "executed.json").unlink()  # what a clone does not have
    book.run(tiny)
    book.run(tiny)
    assert executions(tiny) == 2


def test_a_failing_chapter_leaves_its_page_and_says_where(
    tiny: Book, capsys: pytest.CaptureFixture[str]
) -> None:
    book.run(tiny)
    before = tiny.page("01_a").read_bytes()
    rewrite(tiny, '"answer", 6 * 7', '"answer", 6 / 0')
    (tiny.root / "notebooks" / "02_b.md").write_text(CHAPTER)
    with pytest.raises(BookError, match=r"failed.*\n  01_a"):
        book.run(tiny)
    said = capsys.readouterr().err
    assert "notebooks/01_a.md, code cell 3" in said and "ZeroDivisionError" in said
    assert tiny.page("01_a").read_bytes() == before
    assert tiny.page("02_b").exists(), "the other chapters are executed all the same"
    with pytest.raises(BookError, match=r"failed.*\n  01_a"):
        book.run(tiny)


def test_a_chapter_whose_kernel_dies_does_not_stop_the_others(
    tiny: Book, capsys: pytest.CaptureFixture[str]
) -> None:
    (tiny.root / "notebooks" / "02_b.md").write_text(CHAPTER)
    rewrite(tiny, 'print("answer"', 'os.kill(os.getpid(), 9)\nprint("answer"')
    with pytest.raises(BookError, match=r"failed.*\n  01_a"):
        book.run(tiny)
    assert "notebooks/01_a.md: Kernel died" in capsys.readouterr().err
    assert tiny.page("02_b").exists() and not tiny.page("01_a").exists()


def test_of_the_library_only_what_names_chapters_is_left_out(tmp_path: Path) -> None:
    names = ("parts", "part5_scaling", "models")
    for name in names:
        (tmp_path / f"{name}.py").write_text("old")
    before, changes = made_from.library(tmp_path, "01_spectra"), {}
    for name in names:
        (tmp_path / f"{name}.py").write_text("new")
        after = made_from.library(tmp_path, "01_spectra")
        before, changes[name] = after, after != before
    assert changes == {"parts": True, "part5_scaling": False, "models": True}


def test_a_file_that_goes_while_it_is_looked_for_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("kept", "gone"):
        (tmp_path / name).write_text(name)
    read = Path.read_bytes

    def vanishing(path: Path) -> bytes:
        if path.name == "gone":
            path.unlink()
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", vanishing)
    assert [name for name, _ in made_from.files(tmp_path)] == ["kept"]


def test_without_its_data_a_chapter_runs_on_synthetic_data_and_says_so(
    tiny: Book, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(made_from, "missing_data", lambda chapter: {"gowalla": "gowalla: no net"})
    book.run(tiny)
    said = capsys.readouterr().out
    assert "SYNTHETIC" in said and "gowalla: no net" in said
    assert page(tiny).metadata.specrec.data == "synthetic"
    assert printed(tiny) == "answer 42 quick synthetic\n"

    monkeypatch.setattr(made_from, "missing_data", lambda chapter: {})
    book.run(tiny)
    assert page(tiny).metadata.specrec.data == "real" and executions(tiny) == 2

    monkeypatch.setattr(made_from, "missing_data", lambda chapter: {"gowalla": "gowalla: no net"})
    rewrite(tiny, 'data: str = "real"  # real or synthetic\n', "")
    rewrite(tiny, ", data)", ")")
    with pytest.raises(BookError, match="no `data` parameter"):
        book.run(tiny)


def test_weaving_executes_nothing_and_refuses_other_code(tiny: Book) -> None:
    book.run(tiny)
    rewrite(tiny, "The first prose.", "Better prose.")
    with pytest.raises(BookError, match="01_a"):
        book.weave(tiny, check=True)
    book.weave(tiny)
    book.weave(tiny, check=True)
    assert executions(tiny) == 1 and "Better prose." in page(tiny).cells[0].source
    rewrite(tiny, "6 * 7", "6 * 8")
    with pytest.raises(BookError, match="01_a"):
        book.weave(tiny)


def test_a_notebook_edited_in_jupyter_is_not_overwritten(tiny: Book) -> None:
    assert weaving.write_pair(tiny, "01_a") and not weaving.write_pair(tiny, "01_a")
    pair = nbformat.read(tiny.pair("01_a"), as_version=4)
    pair.cells[0].source += "\n\nWritten in Jupyter."
    nbformat.write(pair, tiny.pair("01_a"))
    later = tiny.text("01_a").stat().st_mtime + 10
    os.utime(tiny.pair("01_a"), (later, later))
    with pytest.raises(BookError, match="jupytext --sync"):
        weaving.write_pair(tiny, "01_a")
    os.utime(tiny.text("01_a"), (later + 10, later + 10))
    assert weaving.write_pair(tiny, "01_a")


def test_an_unknown_chapter_is_named_with_those_there_are(tiny: Book) -> None:
    with pytest.raises(BookError, match="02_x: expected chapters, 01_a"):
        book.run(tiny, ["01_a", "02_x"])
    with pytest.raises(BookError, match=r"no notebooks/02_x\.md: expected one of 01_a"):
        weaving.read_text(tiny, "02_x")


def test_a_device_that_is_not_there_is_named_before_anything_runs(tiny: Book) -> None:
    with pytest.raises(BookError, match="device is 'gpu': expected cpu, cuda"):
        book.run(tiny, ["01_a"], device="gpu")


def test_estimates_of_time_are_made_anew_when_any_record_comes_in(tiny, monkeypatch):
    known = [SimpleNamespace(name="a", seconds=[1.0])]
    monkeypatch.setattr(made_from.records, "known", lambda: iter(known))
    book.run(tiny, ["01_a"])
    known.append(SimpleNamespace(name="b", seconds=[2.0]))
    book.run(tiny, ["01_a"])
    assert executions(tiny) == 1  # it estimates nothing
    rewrite(tiny, "import os, sys", "import os, sys  # Estimate(list(known()))")
    for more in ([], [], [SimpleNamespace(name="c", seconds=[3.0])]):
        known += more
        book.run(tiny, ["01_a"])
    assert executions(tiny) == 3
