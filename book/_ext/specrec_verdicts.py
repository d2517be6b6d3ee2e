"""Reported against reproduced, with verdicts: by chapter, and for the book at a glance.

``{verdicts} 01_spectra`` is the table of a chapter's claims, those of a group folded;
``{status-board}`` counts them for all chapters. Both are evaluated on the records there are when
the book is built.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_lowercase as LETTERS
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from specrec_nodes import depend_on_records, inline, page_made_by, table
from specrec_results import record_link
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx_design.shared import create_component

from specrec_core import catalogue, claims, records, sweep
from specrec_core.claims import LATER
from specrec_core.estimates import Estimate

LOGGER = logging.getLogger(__name__)
AFTERWARDS = "†"
# A sign and a word each: the colour only helps.
SIGNS = {
    claims.REPRODUCED: "✓",
    claims.DEVIATES: "✗",
    claims.NOT_REPORTED: "–",
    claims.NOT_RUN: "…",
}


def badge(verdict: str, text: str | None = None) -> nodes.inline:
    kind = verdict.replace(" ", "-")
    return inline(text or f"{SIGNS[verdict]} {verdict}", "specrec-verdict", f"specrec-{kind}")


class Marks:
    """A letter for each long text that several rows have: it is said once, above the table."""

    def __init__(self, texts: Sequence[str], long: int = 24) -> None:
        often = [text for text in dict.fromkeys(texts) if texts.count(text) > 1]
        self.found = dict(zip((t for t in often if len(t) > long), LETTERS, strict=False))

    def of(self, text: str) -> str | None:
        return self.found.get(text)


def folded(title: str, members: Sequence[claims.Verdict], content: nodes.Node) -> nodes.container:
    """A dropdown: the title and how its rows were judged are seen when it is closed."""
    box = create_component(
        "dropdown", type="dropdown", has_title=True, opened=False, icon=None, chevron=None,
        container_classes=["sd-mb-3"], title_classes=[], body_classes=[],
    )  # fmt: skip
    counts = _counts([verdict.verdict for verdict in members])
    box.extend([nodes.rubric("", "", nodes.Text(f"{title} "), *counts), content])
    return box


class Verdicts(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        depend_on_records(self.env)
        try:
            found = catalogue.verdicts(self.arguments[0])
        except ValueError as error:
            LOGGER.warning("verdicts: %s", error, location=self.get_location())
            return []
        self.marks = Marks([text for v in found for text in (v.source.removesuffix(LATER), v.note)])
        groups: dict[str, list[claims.Verdict]] = {}
        for verdict in found:
            groups.setdefault(verdict.group, []).append(verdict)
        shown: list[nodes.Node] = []
        for title, members in sorted(groups.items()):  # those without a title first
            headers = {"Statement": 9, "Reported": 6, "Reproduced": 8, "Verdict": 5}
            made = table(headers, list(map(self.row, members)), "specrec-verdicts")
            shown.append(folded(title, members, made) if title else made)
        return [*self.legend(any(v.source.endswith(LATER) for v in found)), *shown]

    def row(self, verdict: claims.Verdict) -> list[nodes.Node | str]:
        reproduced: nodes.Node | str = verdict.reproduced
        if verdict.record:
            title = f"record {verdict.record}"
            reproduced = record_link("", verdict.reproduced, record=verdict.record, title=title)
        reported = self.parsed(verdict.reported)
        if source := verdict.source.removesuffix(LATER):
            if mark := self.marks.of(source):
                reported += nodes.superscript("", mark)
            else:
                reported += [nodes.Text(": "), *self.parsed(source).children]
        if verdict.source.endswith(LATER):
            reported += nodes.superscript("", AFTERWARDS)
        statement = self.parsed(capital(verdict.statement))
        if mark := self.marks.of(verdict.note):
            statement += nodes.superscript("", mark)
        elif verdict.note:
            note = self.parsed(verdict.note)
            note["classes"].append("specrec-note")
            statement = nodes.container("", statement, note)
        return [statement, reported, reproduced, badge(verdict.verdict)]

    def legend(self, later: bool) -> list[nodes.Node]:
        """What the marks in the rows stand for."""
        marked = {mark: text for text, mark in self.marks.found.items()}
        if later:
            marked[AFTERWARDS] = LATER.removeprefix("; ")
        lines = nodes.line_block(classes=["specrec-legend"])
        for mark, text in marked.items():
            sign = [nodes.superscript("", mark), nodes.Text(" ")]
            lines += nodes.line("", "", *sign, *self.parsed(text).children)
        return [lines] if marked else []

    def parsed(self, text: str) -> nodes.Element:
        """Statements and notes may hold maths and citations."""
        box = nodes.container()
        self.state.nested_parse(StringList([text], source=""), self.content_offset, box)
        found = box.children[0] if len(box.children) == 1 else box
        return found if isinstance(found, nodes.Element) else box


class StatusBoard(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        depend_on_records(self.env)
        rows = []
        for name, chapter in catalogue.chapters().items():
            if not chapter.verdicts and not catalogue.suite(name, "paper"):
                continue
            docname = f"book/{name}"
            self.env.note_dependency(f"{self.env.srcdir}/{docname}.ipynb")
            made = page_made_by(self.env, docname)
            experiments = {e.name: e for e in catalogue.suite(name, "paper").values()}
            there = [r for r in map(records.find, experiments.values()) if r is not None]
            seeds = sorted({len(r.experiment.seeds) for r in there})
            found = [v.verdict for v in catalogue.verdicts(name)]
            rows.append(
                [
                    _link(docname, f"{int(name.partition('_')[0])}. {chapter.title}"),
                    " · ".join(str(made[k]) for k in ("profile", "device", "data"))
                    if made
                    else "not executed yet",
                    f"{len(there)} of {len(experiments)}",
                    ", ".join(sorted({r.device.partition(" (")[0] for r in there})) or "–",
                    ", ".join(map(str, seeds)) or "–",
                    nodes.paragraph("", "", *_counts(found)) if found else "–",
                ]
            )
        headers = ["Chapter", "Page executed with", "Records", "Made on", "Seeds", "Claims"]
        return [table(headers, rows, "specrec-board"), nodes.paragraph("", _still_missing())]


def _still_missing() -> str:
    """How many experiments there are and have been run, and how long the others would take."""
    every = sweep.wanted()
    names, left = {e.name for e in every.values()}, sweep.missing(every)
    estimate = Estimate(list(records.known()), "cpu")
    seconds = [estimate.seconds(experiment) for experiment in left.values()]
    hours = sum(s for s in seconds if s is not None) / 3600
    return (
        f"{len(names) - len(left):,} of {len(names):,} experiments have been run; one that several "
        f"chapters share counts in each of their rows. One core of a CPU would need about "
        f"{hours:,.0f} hours for those of the others whose length these records tell; of "
        f"{seconds.count(None):,} they do not."
    )


def capital(text: str) -> str:
    """A statement begins as a sentence does, unless it begins with a formula."""
    return re.sub(r"^[a-z](?=[a-z]+[ ,@-])", lambda first: first[0].upper(), text)


def _link(docname: str, title: str) -> nodes.Node:
    return pending_xref(
        "",
        nodes.inline("", title),
        refdomain="std",
        reftype="doc",
        reftarget=f"/{docname}",
        refexplicit=True,
        refwarn=True,
    )


def _counts(found: list[str]) -> list[nodes.inline]:
    """A badge for each verdict there is, in one order everywhere."""
    counts = {kind: found.count(kind) for kind in SIGNS if kind in found}
    return [badge(kind, f"{SIGNS[kind]} {number} {kind}") for kind, number in counts.items()]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("verdicts", Verdicts)
    app.add_directive("status-board", StatusBoard)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
