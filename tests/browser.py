"""A page as chromium draws it, with no network to ask."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from bs4 import BeautifulSoup

from specrec_core.book import BROWSERS

BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
ATTEMPTS = 5


def drawn(
    path: Path, profile: Path, *options: str, ready: Callable[[BeautifulSoup], object]
) -> BeautifulSoup:
    """The page in the file ``path`` with its scripts run; chromium keeps its own files in
    ``profile``.

    Chromium's clock here is virtual, and leaps ahead while only another thread is at work, as
    it is on the points of a view: a busy machine may run out of it with nothing wrong. So a
    page that is not yet ``ready`` is asked for again, ``ATTEMPTS`` times in all, and handed
    over as it then is.
    """
    assert BROWSER is not None
    given = [BROWSER, "--headless", "--no-sandbox", f"--user-data-dir={profile}", *options]
    given += ["--virtual-time-budget=60000", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command = [*given, "--dump-dom", path.resolve().as_uri()]
    for _ in range(ATTEMPTS):
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
        page = BeautifulSoup(done.stdout, "html.parser")
        if ready(page):
            break
    return page
