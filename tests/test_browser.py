"""The browser of the tests, here a script that hangs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import browser
import pytest

HANGS = """#!/bin/sh
echo try >> {tries}
if [ $(wc -l < {tries}) -lt {comes} ]; then exec sleep 60; fi
echo '<p class="live">here</p>'
"""


@pytest.mark.parametrize("comes", [1, 3, 6])
def test_a_browser_that_hangs_is_started_anew(
    comes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries, script = tmp_path / "tries", tmp_path / "browser"
    script.write_text(HANGS.format(tries=tries, comes=comes), "utf-8")
    script.chmod(0o755)
    monkeypatch.setattr(browser, "BROWSER", str(script))
    monkeypatch.setattr(browser, "PATIENCE", 1)

    def shown() -> str:
        page = browser.drawn(script, tmp_path, ready=lambda page: page.select_one(".live"))
        return page.get_text().strip()

    if comes > browser.ATTEMPTS:
        with pytest.raises(subprocess.TimeoutExpired):
            shown()
    else:
        assert shown() == "here"
    assert len(tries.read_text("utf-8").split()) == min(comes, browser.ATTEMPTS)
