"""The reference of the library: autodoc's, with works cited, and examples of modules as code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

KEYS = re.compile(r"\[(\w+(?:, \w+)*)\]")
SHARED = re.compile(r"^:ivar \w+(?:, \w+)+:")


def prepare(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """``[rendle2009bpr]`` cites that work; brackets around anything else stay as they are.

    An indented block of a module is code; attributes that share a line stay together.
    """
    known: set[str] = app.config.specrec_works

    def cited(match: re.Match[str]) -> str:
        keys = match[1].split(", ")
        return f":cite:p:`{','.join(keys)}`" if known.issuperset(keys) else match[0]

    def shared(match: re.Match[str]) -> str:  # Sphinx takes what is before a space for a type
        return match[0].replace(", ", ",")

    lines[:] = [SHARED.sub(shared, KEYS.sub(cited, line)) for line in lines]
    if what == "module":
        for at in reversed(range(2, len(lines))):
            text, gap, code = lines[at - 2 : at + 1]
            if code.startswith("    ") and not gap and re.match(r"\S.*[^:]$", text):
                lines[at:at] = ["::", ""]


def read_works(app: Sphinx, config: Any) -> None:
    paths = [Path(app.confdir) / name for name in config.bibtex_bibfiles]
    text = "".join(path.read_text("utf-8") for path in paths)
    config.specrec_works = set(re.findall(r"^@\w+\{([^,\s]+),", text, re.MULTILINE))


def setup(app: Sphinx) -> dict[str, Any]:
    for name in ("autodoc", "napoleon", "viewcode"):
        app.setup_extension(f"sphinx.ext.{name}")
    app.add_config_value("specrec_works", set(), "env")
    app.connect("config-inited", read_works)
    app.connect("autodoc-process-docstring", prepare)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
