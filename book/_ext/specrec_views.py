"""Views (`specrec_core.views`): what draws them comes with the pages, and only where it is needed.

``views.js`` and ``views.css`` come from the library, plotly.js from the installed package plotly.
What a view needs outside the book, and only there, is left out of the page.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

from specrec_core import views

ELSEWHERE = re.compile(re.escape(views.OUTSIDE) + ".*?" + re.escape(views.INSIDE), re.DOTALL)
MARK = 'class="specrec-view"'


def copy(app: Sphinx) -> None:
    if app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static"
    target.mkdir(parents=True, exist_ok=True)
    for source in _sources():
        shutil.copyfile(source, target / source.name)


def leave_out(app: Sphinx, document: nodes.document, docname: str) -> None:
    """Without the part for elsewhere, which would ask the network."""
    for node in list(document.findall(nodes.raw)):
        text = node.astext()
        if MARK in text and (page := ELSEWHERE.sub("", text)) != text:
            node.replace_self(nodes.raw("", page, format=node["format"]))


def load(app: Sphinx, pagename: str, template: str, context: dict[str, Any], document: Any) -> None:
    if document is not None and any(MARK in node.astext() for node in document.findall(nodes.raw)):
        app.add_css_file("views.css")
        app.add_js_file("views.js", loading_method="defer")


def _sources() -> list[Path]:
    found = importlib.util.find_spec("plotly")
    if found is None or found.origin is None:
        raise ExtensionError("plotly is not installed: see requirements.txt")
    library = Path(views.__file__).parent
    bundle = Path(found.origin).parent / "package_data" / "plotly.min.js"
    return [library / "views.js", library / "views.css", bundle]


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", copy)
    app.connect("doctree-resolved", leave_out)
    app.connect("html-page-context", load)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
