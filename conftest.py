"""`pytest --nbval-lax notebooks`: kernels find the library and leave the published records alone.

nbval starts each kernel in the notebook's folder, so the root goes on the kernel's path; records
that a chapter writes go to a folder of their own. A chapter whose data cannot be had is run on
synthetic data, and the report says so.
"""

import os
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.resolve()
SYNTHETIC: dict[str, dict[str, str]] = {}


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("nbval_lax", False) or config.getoption("nbval", False):
        path = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        os.environ["SPECREC_RESULTS"] = tempfile.mkdtemp(prefix="specrec-nbval-")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        cell = getattr(item, "cell", None)
        if cell is None or "parameters" not in cell.metadata.get("tags", []):
            continue
        sys.path.insert(0, str(ROOT))
        from specrec_core.made_from import missing_data

        missing = missing_data(item.path.stem)
        if missing and any(line.startswith("data") for line in cell.source.splitlines()):
            cell.source += '\ndata = "synthetic"'
            SYNTHETIC[item.path.stem] = missing


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for chapter, missing in SYNTHETIC.items():
        terminalreporter.write_line(
            f"{chapter} ran on SYNTHETIC data: {'; '.join(missing.values())}",
            yellow=True,
        )
