"""Reported against reproduced, with verdicts: by chapter, and for the book at a glance.

``{verdicts} 01_spectra`` is the table of a chapter's claims; ``{status-board}`` counts them for
all chapters. Both are evaluated on the records there are when the book is built.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from specrec_nodes import depend_on_records, inline, page_made_by, table
from specrec_results import record_link
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from specrec_core import catalogue, claims, records, sweep
from specrec_core.estimates import Estimate

LOGGER = logging.getLogger(__name__)
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


class Verdicts(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        depend_on_records(self.env)
        try:
            found = catalogue.verdicts(self.arguments[0])
        except ValueError as error:
            LOGGER.warning("verdicts: %s", error, location=self.get_location())
            return []
        rows = []
        for verdict in found:
            reproduced: nodes.Node | str = verdict.reproduced
            if verdict.record:
                title = f"record {verdict.record}"
                reproduced = record_link("", verdict.reproduced, record=verdict.record, title=title)
            rows.append(
                [
                    self.parsed(verdict.statement),
                    self.parsed(verdict.reported),
                    reproduced,
                    badge(verdict.verdict),
                    self.parsed(verdict.note),
                ]
            )
        headers = ["Statement", "Reported", "Reproduced", "Verdict", "Note"]
        return [table(headers, rows, "specrec-verdicts")]

    def parsed(self, text: str) -> nodes.Node:
        """Statements and notes may hold maths and citations."""
        box = nodes.container()
        self.state.nested_parse(StringList([text], source=""), self.content_offset, box)
        return box.children[0] if len(box.children) == 1 else box


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
                    _link(docname, chapter.title),
                    " · ".join(str(made[k]) for k in ("profile", "device", "data"))
                    if made
                    else "not executed yet",
                    f"{len(there)} of {len(experiments)}",
                    ", ".join(sorted({r.device.partition(" (")[0] for r in there})) or "–",
                    ", ".join(map(str, seeds)) or "–",
                    _counts(found),
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


def _counts(found: list[str]) -> nodes.Node | str:
    """A badge for each verdict there is, in one order everywhere."""
    counts = {kind: found.count(kind) for kind in SIGNS if kind in found}
    badges = [badge(kind, f"{SIGNS[kind]} {number} {kind}") for kind, number in counts.items()]
    return nodes.paragraph("", "", *badges) if badges else "–"


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("verdicts", Verdicts)
    app.add_directive("status-board", StatusBoard)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
