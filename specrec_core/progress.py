"""A progress bar where tqdm is installed, and plain lines where it is not; output that may end."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any


def bar(steps: Iterable[int], description: str, show: bool = True) -> Any:
    """Iterate over ``steps`` (a sized iterable) showing how far it is; use it in a ``with``."""
    try:
        from tqdm import tqdm
    except ImportError:
        return _Lines(steps, description, show)
    return tqdm(steps, desc=description, disable=not show, leave=False, mininterval=1.0)


def say(text: str, show: bool = True) -> None:
    """Say something about a run where its progress is shown.

    It begins with a carriage return, as a bar does, by which a page knows what to leave out.
    """
    if show:
        print(f"\r{text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def until_closed() -> Iterator[None]:
    """Print as long as somebody reads: what goes to `head` may end early, and that is no error."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more as it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Lines:
    """The part of tqdm's interface that is used here, a line every ten seconds."""

    def __init__(self, steps: Iterable[int], description: str, show: bool) -> None:
        self.steps, self.description, self.show, self.note = list(steps), description, show, ""

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def set_postfix_str(self, note: str) -> None:
        self.note = note

    def __iter__(self) -> Iterator[int]:
        last = time.monotonic()
        for done, step in enumerate(self.steps):
            if time.monotonic() - last > 10:
                last = time.monotonic()
                say(f"{self.description}: {done}/{len(self.steps)} {self.note}", self.show)
            yield step
