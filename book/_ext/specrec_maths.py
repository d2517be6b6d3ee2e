"""Formulas without a network: the part of MathJax that the pages need goes into them.

MathJax comes with the package sphinx-mathjax-offline. That extension copies every variant of it
(30 MB); this one copies the one that the pages load, its fonts, and what reads formulas aloud.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

LOADED = "tex-chtml-full.js"
PARTS = (LOADED, "output/chtml/fonts", "a11y", "sre/mathmaps/base.json", "sre/mathmaps/en.json")


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
    app.config.mathjax_path = f"mathjax/{LOADED}"
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
