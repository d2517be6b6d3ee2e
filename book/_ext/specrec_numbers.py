"""How numbers look on a page, whoever wrote them: ``-17% ± 11%`` is −17 % ± 11 %.

A minus is a minus sign, a zero has no sign, and a no-break space stands before ``%``.
Code, formulas, signatures and tables that a cell made as HTML stay as they are.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import desc_signature
from sphinx.application import Sphinx

ZERO = re.compile(r"(?<![\w.,)\]}%])[-−+](?=0(?:\.0+)?(?![\d.,]*\d))")
MINUS = re.compile(r"(?<![\w.,)\]}%'’\"-])-(?=\.?\d)")
PERCENT = re.compile(r"(?<=\d)[ \u00a0\u202f]?%(?!\d)|^ %(?!\d)")  # or after a role
AS_TYPED = (
    nodes.literal, nodes.literal_block, nodes.FixedTextElement, nodes.math, nodes.math_block,
    nodes.raw, nodes.comment, desc_signature,
)  # fmt: skip


def typeset(text: str) -> str:
    """The same with minus signs, without negative zeros, and with a space before ``%``."""
    return PERCENT.sub("\u00a0%", MINUS.sub("−", ZERO.sub("", text)))


def typeset_page(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    for node in list(doctree.findall(nodes.Text)):
        parent: nodes.Node | None = node.parent
        while parent is not None and not isinstance(parent, AS_TYPED):
            parent = parent.parent
        if parent is None and (text := typeset(str(node))) != str(node):
            node.parent.replace(node, nodes.Text(text))


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-resolved", typeset_page, priority=900)  # after results are links
    return {"parallel_read_safe": True, "parallel_write_safe": True}
