"""Numbers in prose come from records, and each leads to its record.

``{result}`01_spectra/bpr d=64:ndcg@10``` prints the mean over seeds and the half-width of its
95 % interval, with as many digits as the interval supports; ``{result}`…|.3f``` sets the format.
``{given}`95 %``` marks a number that is no result but given: a constant, a definition, a setting.
``{record-list}`` lists every record. What has no record is a warning, and the build is strict.
"""

from __future__ import annotations

import math
import re
from typing import Any

from docutils import nodes
from specrec_nodes import depend_on_records, inline, table
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from specrec_core import catalogue, records
from specrec_core.claims import mean_interval
from specrec_core.digits import grouped
from specrec_core.records import Record

LOGGER = logging.getLogger(__name__)
TARGET = re.compile(r"(?P<chapter>[^/]+)/(?P<label>[^:|]+):(?P<metric>[^|]+)(\|(?P<format>.+))?")


class record_link(nodes.Inline, nodes.TextElement):
    """A reference to a row of the list of records; it is resolved when the list's page is known."""


class ResultRole(SphinxRole):
    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        depend_on_records(self.env)
        try:
            record, metric, spec = _look_up(self.text)
            shown = show(record.metrics[metric], spec)
        except ValueError as error:
            LOGGER.warning("result %r: %s", self.text, error, location=self.get_location())
            return [inline("[no record]", "specrec-missing")], []
        title = f"{metric}: mean ± half-width of the 95 % interval. {describe(record)}"
        link = record_link("", shown, record=record.name, title=title)
        return [link], []


class GivenRole(SphinxRole):
    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        return [inline(self.text.replace(" %", "\u00a0%"), "specrec-given")], []


class RecordList(SphinxDirective):
    """A row for each record of the book, by chapter, with the anchor that results link to."""

    def run(self) -> list[nodes.Node]:
        depend_on_records(self.env)
        self.env.specrec_records_page = self.env.docname  # type: ignore[attr-defined]
        names = _names()
        order = {name: number for number, name in enumerate(names)}
        tables: dict[str, list[list[nodes.Node | str]]] = {}
        for record in sorted(records.published(), key=lambda r: order.get(r.name, len(order))):
            first, *others = names.get(record.name, ["of no chapter/"])
            chapter, label = first.split("/", 1)
            anchor = nodes.inline("", "", nodes.literal("", record.name), ids=[_id(record.name)])
            tables.setdefault(chapter, []).append(
                [
                    anchor,
                    ", ".join([label, *others]),
                    str(len(record.experiment.seeds)),
                    f"{sum(record.seconds):,.0f} s",
                    _made_with(record),
                ]
            )
        if not tables:
            return [nodes.paragraph("", "There is no record yet: `make paper` runs them.")]
        headers = ["Record", "Experiment", "Seeds", "Time", "Made with"]
        shown: list[nodes.Node] = []
        for chapter, rows in tables.items():
            shown += [nodes.rubric("", chapter), table(headers, rows, "specrec-records")]
        return shown


def show(values: list[float], spec: str | None = None) -> str:
    """``0.1463 ± 0.0008``: two digits of the interval, or the format that was asked for.

    Of a mean from 0.01 on four digits after the point at most, as `specrec_core.claims.show`.
    """
    mean, half = mean_interval(values)
    if spec is None:
        known = math.isfinite(half) and half > 1e-9 * abs(mean)  # more than rounding
        digits = max(0, 1 - math.floor(math.log10(half))) if known else 0
        spec = f".{min(digits, 4) if abs(mean) >= 0.01 else digits}f" if known else ".4g"
    mean_text, half_text = (grouped(x, spec) for x in (mean, half))
    return mean_text + (f" ± {half_text}" if math.isfinite(half) else " (one seed)")


def describe(record: Record) -> str:
    seeds = ", ".join(map(str, record.experiment.seeds))
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    data = " ".join(filter(None, (record.experiment.dataset, record.experiment.version)))
    return (
        f"{data}; seeds {seeds}; profile "
        f"{record.profile}; {record.device}; {versions}; record {record.name}"
    )


def _look_up(text: str) -> tuple[Record, str, str | None]:
    match = TARGET.fullmatch(text)
    if match is None:
        raise ValueError("expected chapter/label:metric, and |format if need be")
    record = catalogue.find(match["chapter"], match["label"])
    if record is None:
        raise ValueError("there is no record yet; `make paper` runs what is missing")
    if match["metric"] not in record.metrics:
        raise ValueError(f"the record has {', '.join(record.metrics)}")
    return record, match["metric"], match["format"]


def _names() -> dict[str, list[str]]:
    """What the chapters call each experiment."""
    out: dict[str, list[str]] = {}
    for chapter in catalogue.chapters():
        for profile in catalogue.PROFILES:
            for label, experiment in catalogue.suite(chapter, profile).items():
                out.setdefault(experiment.name, []).append(f"{chapter}/{label}")
    return out


def _made_with(record: Record) -> str:
    """``cpu, torch 2.13.0``; the record itself and the links to it tell more."""
    device, torch = record.device.partition(" (")[0], record.versions["torch"].partition("+")[0]
    profile = "" if record.profile == "paper" else f"{record.profile}, "
    return f"{profile}{device}, torch\u00a0{torch}"


def _id(name: str) -> str:
    return f"record-{name}"


def resolve(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Turn record links into references, now that the page with the list has been read."""
    page = getattr(app.env, "specrec_records_page", None)
    for node in list(doctree.findall(record_link)):
        text = node.astext()
        if page is None or app.builder is None:
            LOGGER.warning("no page has a {record-list} to link to", location=docname)
            node.replace_self(nodes.Text(text))
            continue
        uri = f"{app.builder.get_relative_uri(docname, page)}#{_id(node['record'])}"
        link = nodes.reference("", text, internal=True, refuri=uri, reftitle=node["title"])
        link["classes"].append("specrec-result")
        node.replace_self(link)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_node(record_link)
    app.add_role("result", ResultRole())
    app.add_role("given", GivenRole())
    app.add_directive("record-list", RecordList)
    app.connect("doctree-resolved", resolve)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
