"""Theorems and the tests that look for a counterexample.

``{checked}`thm-erank-bounds``` says how many random cases the test of that theorem went through.
It reads ``book/results/checks.json``, which `pytest --record-checks` writes; a theorem without a
passed test is a warning, and the build is strict.
"""

from __future__ import annotations

import json
from typing import Any

from docutils import nodes
from specrec_nodes import inline
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from specrec_core import records

LOGGER = logging.getLogger(__name__)


class CheckedRole(SphinxRole):
    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        path = records.PUBLISHED / "checks.json"
        self.env.note_dependency(str(path))
        checks = json.loads(path.read_text("utf-8")) if path.exists() else {}
        if self.text not in checks:
            message = "theorem %r has no passed test in results/checks.json: mark one with "
            message += "@pytest.mark.theorem and run pytest --record-checks"
            LOGGER.warning(message, self.text, location=self.get_location())
            return [inline("[not checked]", "specrec-missing")], []
        check = checks[self.text]
        badge = nodes.inline("", "", classes=["specrec-checked"])
        badge += nodes.Text(f"✓ checked numerically on {check['cases']:,} random cases by ")
        file = ""
        for number, test in enumerate(check["tests"]):
            badge += nodes.Text(", " if number else "")
            badge += nodes.literal("", test.removeprefix(file))
            file = test.partition("::")[0]
        badge += nodes.Text(" (evidence, not proof)")
        return [badge], []


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_role("checked", CheckedRole())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
