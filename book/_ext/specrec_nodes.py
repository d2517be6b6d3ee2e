"""Small docutils helpers that the book's own extensions share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from docutils import nodes
from sphinx.environment import BuildEnvironment

from specrec_core import records

Cell: TypeAlias = nodes.Node | str


def table(
    headers: Sequence[str] | Mapping[str, int], rows: Sequence[Sequence[Cell]], *classes: str
) -> nodes.table:
    """A table of inline nodes or strings; on a narrow screen it scrolls by itself.

    Headers may have widths, relative ones.
    """
    widths = headers.values() if isinstance(headers, Mapping) else [1] * len(headers)
    columns = [nodes.colspec(colwidth=width) for width in widths]
    group = nodes.tgroup("", *columns, cols=len(columns))
    group += nodes.thead("", _row(list(headers)))
    group += nodes.tbody("", *[_row(row) for row in rows])
    return nodes.table("", group, classes=["specrec-table", *classes])


def _row(cells: Sequence[Cell]) -> nodes.row:
    entries = []
    for cell in cells:
        content = nodes.Text(cell) if isinstance(cell, str) else cell
        if isinstance(content, nodes.Inline | nodes.Text):
            content = nodes.paragraph("", "", content)
        entries.append(nodes.entry("", content))
    return nodes.row("", *entries)


def inline(text: str, *classes: str) -> nodes.inline:
    return nodes.inline(text, text, classes=list(classes))


def page_made_by(env: BuildEnvironment, docname: str) -> dict[str, Any]:
    """How a page was executed: `metadata.specrec` of its notebook; empty where it was not."""
    path = Path(env.srcdir) / f"{docname}.ipynb"
    if not path.exists():
        return {}
    return json.loads(path.read_text("utf-8"))["metadata"].get("specrec", {})


def depend_on_records(env: BuildEnvironment) -> None:
    """Have Sphinx read the current page again when a record changes, comes or goes."""
    env.note_dependency(str(records.PUBLISHED))
    for path in sorted(records.PUBLISHED.glob("*.json")):
        env.note_dependency(str(path))
