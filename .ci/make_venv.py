"""Make a virtual environment with pip, also where Debian has left ensurepip out of Python."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import tempfile
import urllib.request
import venv
from pathlib import Path

WHEEL = "pip-25.3-py3-none-any.whl"
ADDRESS = (
    "https://files.pythonhosted.org/packages/"
    f"44/3c/d717024885424591d5376220b5e836c2d5293ce2011523c9de23ff7bf068/{WHEEL}"
)
SHA256 = "9655943313a94722b7774661c21049070f6bbb0a1516bf02f7c8d5d9201514cd"


def main(folder: str) -> None:
    if not (3, 11) <= sys.version_info < (3, 13):
        found = ".".join(map(str, sys.version_info[:3]))
        sys.exit(f"Python 3.11 or 3.12 is needed; {sys.executable} is {found}")
    if importlib.util.find_spec("ensurepip"):
        venv.create(folder, with_pip=True)
        return
    try:
        with urllib.request.urlopen(ADDRESS, timeout=60) as answer:
            content = answer.read()
    except OSError as error:
        sys.exit(
            f"{sys.executable} comes without ensurepip, and pip could not be fetched ({error}). "
            "On Debian and Ubuntu: apt install python3-venv"
        )
    if hashlib.sha256(content).hexdigest() != SHA256:
        sys.exit(f"what came from {ADDRESS} is not {WHEEL}: its checksum differs")
    venv.create(folder, with_pip=False)
    with tempfile.TemporaryDirectory() as aside:
        wheel = Path(aside) / WHEEL
        wheel.write_bytes(content)
        install = [f"{wheel}/pip", "install", "--quiet", "--no-index", str(wheel)]
        subprocess.run([f"{folder}/bin/python", *install], check=True)


if __name__ == "__main__":
    main(sys.argv[1])
