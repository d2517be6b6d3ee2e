"""Digits as all of the book groups them, in prose, tables, verdicts and results."""

from __future__ import annotations


def grouped(value: float, spec: str = "") -> str:
    """A number in the format ``spec``, with commas from 10,000 on.

    >>> grouped(4096), grouped(32768), grouped(-12345.678, ".1f")
    ('4096', '32,768', '-12,345.7')
    """
    return f"{value:{',' if abs(value) >= 10_000 else ''}{spec}}"
