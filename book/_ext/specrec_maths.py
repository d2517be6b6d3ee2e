"""Formulas: those in a line keep the sign that follows, and MathJax comes without a network.

MathJax comes with the package sphinx-mathjax-offline. That extension copies every variant of it
(30 MB); this one copies the one that the pages load, its fonts, and what reads formulas aloud.
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
from sphinx.transforms.post_transforms import SphinxPostTransform

LOADED = "tex-chtml-full.js"
PARTS = (LOADED, "output/chtml/fonts", "a11y", "sre/mathmaps/base.json", "sre/mathmaps/en.json")


class TogetherWithSigns(SphinxPostTransform):
    """No line ends between a formula and the full stop, comma or bracket that follows it."""

    default_priority = 500
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for formula in list(self.document.findall(nodes.math)):
            after = formula.next_node(descend=False, siblings=True)
            if not isinstance(after, nodes.Text):
                continue
            match = re.match(r"[^\s\w(\[]+", after.astext())
            if match is None:
                continue
            parent, at = formula.parent, formula.parent.index(formula)
            together = nodes.inline(classes=["specrec-together"])
            # By place: texts are found by what they say, and another may say the same.
            parent[at + 1] = nodes.Text(after.astext()[match.end() :])
            parent.remove(formula)
            together += [formula, nodes.Text(match[0])]
            parent.insert(at, together)


def copy(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static" / "mathjax"
    for part in PARTS:
        source = _source() / part
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target / part, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, target / part)


def _source() -> Path:
    found = importlib.util.find_spec("sphinx-mathjax-offline")
    if found is None or found.origin is None:
        raise ExtensionError("sphinx-mathjax-offline is not installed: see requirements.txt")
    return Path(found.origin).parent / "static" / "mathjax"


def setup(app: Sphinx) -> dict[str, Any]:
    _source()
    app.add_post_transform(TogetherWithSigns)
    app.config.mathjax_path = f"mathjax/{LOADED}"
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
