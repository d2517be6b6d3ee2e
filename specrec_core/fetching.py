"""Registered files: found where they were put, or fetched into the user's cache, and verified.

See `specrec_core.datasets` for the order in which places are looked at. A file that is not the one
registered is never used and never left in the cache.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from specrec_core import registry
from specrec_core.registry import File

Folder = str | os.PathLike[str] | None
CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
_log = logging.getLogger(__name__)


class DataUnavailable(FileNotFoundError):
    """The files of a data set are not where they were looked for and could not be fetched."""


class CorruptData(ValueError):
    """A file is not the one that is registered: its SHA-256 differs."""


def data_folder(name: str) -> Path | None:
    """``$SPECREC_DATA/<name>``, or None where the variable is not set."""
    root = os.environ.get("SPECREC_DATA")
    return Path(root).expanduser() / name if root else None


def find(
    dataset: str, names: Sequence[str], folder: Folder = None, download: bool = True
) -> dict[str, Path]:
    """Verified paths of registered files by name, fetched where they are not at hand.

    Raises
    ------
    DataUnavailable, CorruptData
        If a file is missing and cannot be fetched, or is not the one registered.
    """
    where = Path(folder) if folder is not None else data_folder(dataset)
    found = {}
    for name in names:
        file = registry.files()[dataset][name]
        found[name] = _fetched(file, download) if where is None else _verified(file, where / name)
    return found


def _verified(file: File, path: Path) -> Path:
    if not path.is_file():
        raise DataUnavailable(
            f"{file.dataset}: {file.name} is not at {path}. Put it there (from {file.url}), or "
            "name no folder and unset SPECREC_DATA to have it downloaded."
        )
    size, digest = path.stat().st_size, sha256(path)
    if digest != file.sha256:
        raise CorruptData(
            f"{file.dataset}: {path} is {size} bytes with SHA-256 {digest}, expected "
            f"{file.bytes} bytes with {file.sha256}; replace it by {file.url}"
        )
    return path


def _fetched(file: File, download: bool) -> Path:
    try:
        import pooch

        pooch.get_logger().setLevel("WARNING")
    except ImportError as error:
        raise DataUnavailable(
            f"{file.dataset}: downloading {file.name} needs the package pooch; install it, or "
            "put the files into a folder and set SPECREC_DATA to the folder above it"
        ) from error
    folder = Path(pooch.os_cache("specrec")) / file.dataset
    path = folder / file.name
    if path.is_file():
        if sha256(path) == file.sha256:
            return path
        if download:
            _log.warning("%s is not the file registered; it is removed and fetched anew", path)
            path.unlink()
    if not download:
        raise DataUnavailable(f"{file.dataset}: {file.name} is not in the cache {folder}")
    import requests

    get = pooch.HTTPDownloader(
        progressbar=importlib.util.find_spec("tqdm") is not None,
        chunk_size=65536,
        timeout=(CONNECT_SECONDS, READ_SECONDS),
    )
    try:
        pooch.retrieve(file.url, f"sha256:{file.sha256}", file.name, folder, downloader=get)
    except (requests.RequestException, OSError) as error:
        raise DataUnavailable(
            f"{file.dataset}: {file.name} could not be fetched from {file.url}: {error}. Check the "
            "network, or get the file elsewhere and set SPECREC_DATA to the folder above "
            f"{file.dataset}/."
        ) from None  # the reason is in the message; the network's own traceback is pages long
    except ValueError as error:  # pooch compares the hash before it moves the file into the cache
        raise CorruptData(
            f"{file.dataset}: what {file.url} sent is not the {file.bytes} bytes of {file.name} "
            f"that are registered; nothing was kept. {error}"
        ) from error
    return path


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
