"""Every executed page says how it was made, and nobody can take synthetic data for real.

At the head of a page stands in one line which profile, device and data it was executed with; at
its foot, the parameters and versions. A page made with synthetic data carries a banner, and so
does the first page as long as there is any such page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from specrec_nodes import inline, page_made_by
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

BANNER = (
    "The real data could not be fetched when this page was made. Everything that was executed on "
    "it ran on synthetic data and says nothing about the data sets in its text."
)


def add(app: Sphinx, document: nodes.document) -> None:
    docname, env = app.env.docname, app.env
    made = page_made_by(env, docname)
    top = _after_title(document)
    if made:
        section, place = top
        section.insert(place, _line(made))
        document += _footer(made)
        if made["data"] == "synthetic":
            section.insert(place, _banner(BANNER))
    elif docname == env.config.root_doc and (found := _synthetic(env)):
        section, place = top
        text = f"Made with synthetic data, because the real data could not be fetched: {found}."
        section.insert(place, _banner(text))


def _after_title(document: nodes.document) -> tuple[nodes.Element, int]:
    for section in document.findall(nodes.section):
        return section, 1
    return document, 0


def _synthetic(env: BuildEnvironment) -> str:
    names = sorted(path.stem for path in (Path(env.srcdir) / "book").glob("*.ipynb"))
    return ", ".join(n for n in names if page_made_by(env, f"book/{n}").get("data") == "synthetic")


def _banner(text: str) -> nodes.Node:
    title = nodes.title("", "Synthetic data")
    classes = ["warning", "specrec-synthetic"]
    return nodes.admonition("", title, nodes.paragraph("", text), classes=classes)


def _line(made: dict[str, Any]) -> nodes.Node:
    data = "synthetic data" if made["data"] == "synthetic" else "real data"
    device = made["device"] or "cpu"
    text = f"Executed with profile {made['profile']} · {device} · {data}"
    return nodes.paragraph("", "", inline(text, "specrec-made-with"), classes=["specrec-made"])


def _footer(made: dict[str, Any]) -> nodes.Node:
    parameters = ", ".join(f"{k} = {v!r}" for k, v in made["parameters"].items()) or "none"
    versions = ", ".join(f"{k} {v}" for k, v in made["versions"].items())
    text = f"Parameters: {parameters}. Versions: {versions}. Fingerprint: {made['fingerprint']}."
    title = nodes.strong("", "How this page was made. ")
    paragraph = nodes.paragraph("", "", title, nodes.Text(text))
    return nodes.container("", paragraph, classes=["specrec-footer"])


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-read", add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
