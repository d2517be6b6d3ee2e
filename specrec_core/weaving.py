"""A chapter as text, as a notebook, and as an executed page.

A chapter is written once, as MyST text (``notebooks/NN_name.md``). Its *pair* is the same chapter
as a notebook without outputs (``notebooks/NN_name.ipynb``, for Jupyter and nbval), and its *page*
is the executed notebook that the book publishes (``book/NN_name.ipynb``). Weaving puts new text
around the outputs of a page whose code has not changed.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from specrec_core import records

ROOT = Path(__file__).resolve().parents[1]
INJECTED = "injected-parameters"


class BookError(Exception):
    """Something that an author or a reader can put right; the message says how."""


@dataclass(frozen=True)
class Book:
    """Where the parts of a book are; the tests make small ones of their own."""

    root: Path = ROOT

    def chapters(self) -> list[str]:
        return sorted(path.stem for path in (self.root / "notebooks").glob("*.md"))

    def text(self, chapter: str) -> Path:
        return self.root / "notebooks" / f"{chapter}.md"

    def pair(self, chapter: str) -> Path:
        return self.root / "notebooks" / f"{chapter}.ipynb"

    def page(self, chapter: str) -> Path:
        return self.root / "book" / f"{chapter}.ipynb"


def read_text(book: Book, chapter: str) -> NotebookNode:
    """The chapter as written, with cell ids that depend on nothing but the cells."""
    import jupytext

    if not book.text(chapter).exists():
        known = ", ".join(book.chapters())
        raise BookError(f"there is no notebooks/{chapter}.md: expected one of {known}")
    return with_stable_ids(jupytext.read(book.text(chapter)))


def read_page(book: Book, chapter: str) -> NotebookNode | None:
    """The published page, or None where there is none yet."""
    path = book.page(chapter)
    return nbformat.read(path, as_version=4) if path.exists() else None


def write_notebook(notebook: NotebookNode, path: Path) -> None:
    """Whole or not at all, and always in the same form, so that a difference is a difference."""
    nbformat.validate(notebook)
    records.write_json(path, json.loads(nbformat.writes(notebook)))


def with_stable_ids(notebook: NotebookNode) -> NotebookNode:
    """Name each cell after its content, so that a new run changes nothing but outputs."""
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        text = f"{cell.cell_type}\n{cell.source}"
        seen[text] = seen.get(text, 0) + 1
        cell["id"] = hashlib.sha256(f"{seen[text]}\n{text}".encode()).hexdigest()[:12]
    notebook["nbformat"], notebook["nbformat_minor"] = 4, 5
    return notebook


def write_pair(book: Book, chapter: str) -> bool:
    """Write the pair of a text where it differs, and return whether it did.

    Raises
    ------
    BookError
        If the pair differs and is newer than the text: it was edited in Jupyter, and it is the
        author who says which of the two is meant.
    """
    notebook, path = read_text(book, chapter), book.pair(chapter)
    if path.exists():
        if written(nbformat.read(path, as_version=4)) == written(notebook):
            return False
        if path.stat().st_mtime > book.text(chapter).stat().st_mtime:
            raise BookError(
                f"notebooks/{chapter}.ipynb is newer than notebooks/{chapter}.md and differs from "
                f"it. To keep what is in the notebook: jupytext --sync notebooks/{chapter}.ipynb. "
                f"To keep what is in the text: touch notebooks/{chapter}.md"
            )
    # As jupytext itself writes it: how the text is represented stands in the text alone.
    notebook.metadata.get("jupytext", {}).pop("text_representation", None)
    write_notebook(notebook, path)
    return True


def written(notebook: NotebookNode) -> list[Any]:
    """What an author wrote: type, source and metadata of each cell."""
    cells = (c for c in notebook.cells if not _injected(c))
    return [(c.cell_type, c.source, _own_metadata(c)) for c in cells]


def code(notebook: NotebookNode) -> list[str]:
    """The sources that are executed, in order."""
    return [cell.source for cell in _code_cells(notebook)]


def defaults(notebook: NotebookNode) -> dict[str, Any]:
    """The chapter's own parameters: the literals assigned in its cell tagged `parameters`."""
    out: dict[str, Any] = {}
    for cell in _code_cells(notebook):
        if "parameters" not in _tags(cell):
            continue
        for line in ast.parse(cell.source).body:
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
                out[line.targets[0].id] = ast.literal_eval(line.value)
            elif isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                out[line.target.id] = ast.literal_eval(line.value) if line.value else None
    return out


def woven(text: NotebookNode, page: NotebookNode) -> NotebookNode:
    """The chapter ``text`` with the outputs of ``page``, which ran the same code.

    Left out is what would differ from run to run and means nothing: execution times, random cell
    ids, progress bars.
    """
    result = nbformat.from_dict(json.loads(json.dumps(text)))
    executed = _code_cells(page)
    injected = [cell for cell in page.cells if _injected(cell)]
    cells = []
    for cell in result.cells:
        cell["metadata"] = _own_metadata(cell)
        cells.append(cell)
        if cell.cell_type == "code":
            old = next(executed)
            cell["outputs"] = [o for o in old.outputs if not _progress_bar(o)]
            cell["execution_count"] = old.execution_count
        if "parameters" in _tags(cell):
            cells += injected
    for cell in injected:
        # The page already shows the parameters; the values it was run with stand in its footer.
        cell["metadata"] = {"tags": [INJECTED, "remove-cell"]}
    result["cells"] = cells
    for key in ("specrec", "language_info"):
        if key in page.metadata:
            result["metadata"][key] = page.metadata[key]
    return with_stable_ids(nbformat.from_dict(result))


def _code_cells(notebook: NotebookNode) -> Iterator[NotebookNode]:
    return (c for c in notebook.cells if c.cell_type == "code" and not _injected(c))


def _tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def _injected(cell: NotebookNode) -> bool:
    return INJECTED in _tags(cell)


def _own_metadata(cell: NotebookNode) -> dict[str, Any]:
    made = ("papermill", "execution", "tags")
    kept = {key: value for key, value in cell.metadata.items() if key not in made}
    return {**kept, "tags": _tags(cell)} if _tags(cell) else kept


def _progress_bar(output: NotebookNode) -> bool:
    stream = output.get("output_type") == "stream" and output.get("name") == "stderr"
    return stream and "\r" in output.text
