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
PATIENCE = 120  # seconds; a page takes five, on a busy machine thirty


def drawn(
    path: Path, profile: Path, *options: str, ready: Callable[[BeautifulSoup], object]
) -> BeautifulSoup:
    """The page in the file ``path`` with its scripts run; chromium keeps its own files in
    ``profile``.

    Chromium's clock here is virtual, and leaps ahead while only another thread is at work, as
    it is on the points of a view: a busy machine may run out of it with nothing wrong. Now and
    then that clock stands still for good. So a page that is not yet ``ready``, or does not come
    at all, is asked for again by a new chromium, ``ATTEMPTS`` times in all, and handed over as
    it then is; `subprocess.TimeoutExpired` if the last does not come either.
    """
    assert BROWSER is not None
    given = [BROWSER, "--headless", "--no-sandbox", "--virtual-time-budget=60000", *options]
    given += ["--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", path.resolve().as_uri()]
    for attempt in range(1, ATTEMPTS + 1):
        command = [*given, f"--user-data-dir={profile / str(attempt)}"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=PATIENCE, check=True
            )
        except subprocess.TimeoutExpired:
            if attempt == ATTEMPTS:
                raise
            continue
        page = BeautifulSoup(done.stdout, "html.parser")
        if ready(page):
            break
    return page
