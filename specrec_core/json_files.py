"""JSON files that are there whole, or not at all."""

from __future__ import annotations

import errno
import json
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def write_json(path: Path, body: Any, *, replace: bool = True) -> Path:
    """Write ``body`` as JSON to ``path`` through a temporary file in the same folder.

    Without ``replace`` a file that is there stays as it is: of several processes that write at
    once, one succeeds. Where the file system has no hard links, this is warned of and not quite
    so: a file that appears between the look for it and the writing is replaced, whole as ever.

    Raises
    ------
    FileExistsError
        Without ``replace``, if the file is there.
    NotADirectoryError
        If its folder cannot be made, as a file has its name.
    """
    handle, temporary = _temporary(path)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump(body, out, indent=1, ensure_ascii=False, allow_nan=False)
            out.write("\n")
        os.chmod(temporary, 0o644)
        if replace:
            os.replace(temporary, path)
        else:
            _add(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _temporary(path: Path) -> tuple[int, str]:
    """A new file in the folder of ``path``, which is made: an open handle of it, and its name."""
    while True:
        try:
            # What a link leads to may have been removed, empty as it was.
            path.parent.resolve().mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:  # which would say that the file is there
            raise NotADirectoryError(f"{path.parent} is a file: expected a folder") from error
        try:
            return tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".part")
        except FileNotFoundError:  # another process removed the folder, empty as it was
            continue


def _add(temporary: str, path: Path) -> None:
    """Rename ``temporary`` to ``path``; FileExistsError if there is such a file."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        warnings.warn(
            f"{path.parent} has no hard links ({error.strerror}): of two sweeps that write "
            f"{path.name} in one instant, the later one replaces it",
            RuntimeWarning,
            stacklevel=3,
        )
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        os.replace(temporary, path)
    else:
        os.unlink(temporary)
