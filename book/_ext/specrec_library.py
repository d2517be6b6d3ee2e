"""The reference of the library: autodoc's, with the keys of works in docstrings as citations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

KEYS = re.compile(r"\[(\w+(?:, \w+)*)\]")


def cite(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """``[rendle2009bpr]`` cites that work; brackets around anything else stay as they are."""
    known: set[str] = app.config.specrec_works

    def cited(match: re.Match[str]) -> str:
        keys = match[1].split(", ")
        return f":cite:p:`{','.join(keys)}`" if known.issuperset(keys) else match[0]

    lines[:] = [KEYS.sub(cited, line) for line in lines]


def read_works(app: Sphinx, config: Any) -> None:
    paths = [Path(app.confdir) / name for name in config.bibtex_bibfiles]
    text = "".join(path.read_text("utf-8") for path in paths)
    config.specrec_works = set(re.findall(r"^@\w+\{([^,\s]+),", text, re.MULTILINE))


def setup(app: Sphinx) -> dict[str, Any]:
    for name in ("autodoc", "napoleon", "viewcode"):
        app.setup_extension(f"sphinx.ext.{name}")
    app.add_config_value("specrec_works", set(), "env")
    app.connect("config-inited", read_works)
    app.connect("autodoc-process-docstring", cite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
