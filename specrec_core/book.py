"""Execute, reweave and build the book.

This is the only module that knows papermill and jupyter-book::

    python -m specrec_core.book run [chapter …] [--profile quick] [--device cpu] [--force]
    python -m specrec_core.book weave     # new prose into the published pages; executes nothing
    python -m specrec_core.book pair      # write the notebooks that belong to the texts
    python -m specrec_core.book build     # the pages, strictly: any warning is an error
    python -m specrec_core.book pdf       # the whole book on paper, printed by chromium

``run`` executes a chapter only when its code, its parameters, the library, the data, the versions
or the records that it may read have changed since *this checkout* executed it. That is noted in
``_build/executed.json``, which is not in git: a fresh clone executes every chapter once, whereas
``build`` by itself publishes the pages as they are in ``book/``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from specrec_core import catalogue, made_from, records, weaving
from specrec_core.made_from import digest
from specrec_core.running import device_of
from specrec_core.weaving import Book, BookError

BUILD = ("--all", "-W", "-n", "--keep-going", "-q")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def run(
    book: Book,
    chapters: Sequence[str] = (),
    *,
    profile: str = "quick",
    device: str | None = None,
    force: bool = False,
) -> None:
    """Execute, reweave or leave each chapter, whatever is least and enough.

    Only parameters that a chapter has are passed to it. A chapter whose data sets cannot be had
    runs on synthetic data; that is printed, and its page carries a banner.

    Raises
    ------
    BookError
        If a chapter fails, after the others have run; its published page is left as it was.
    """
    unknown = ", ".join(c for c in chapters if c not in book.chapters())
    if unknown:
        raise BookError(f"{unknown}: expected chapters, {', '.join(book.chapters())}")
    try:
        device = device and str(device_of(device))
    except ValueError as error:
        raise BookError(str(error)) from None
    chapters = list(chapters) or book.chapters()
    failed: dict[str, BookError] = {}
    for number, chapter in enumerate(chapters, 1):
        head = f"[{number}/{len(chapters)}] {chapter}"
        try:
            _bring_up_to_date(book, chapter, head, profile, device, force)
        except BookError as error:
            print(f"{head}: FAILED\n{error}\n", file=sys.stderr, flush=True)
            failed[chapter] = error
    if failed:
        reasons = "\n".join(f"  {name}: {str(e).splitlines()[0]}" for name, e in failed.items())
        raise BookError(f"failed, and their published pages are as they were:\n{reasons}")


def _bring_up_to_date(
    book: Book, chapter: str, head: str, profile: str, device: str | None, force: bool
) -> None:
    weaving.write_pair(book, chapter)
    text, page = weaving.read_text(book, chapter), weaving.read_page(book, chapter)
    own = weaving.defaults(text)
    data = _data(chapter, own)
    wanted = {"profile": profile, "device": device, "data": data}
    given = {k: v for k, v in wanted.items() if k in own and v is not None}
    made = {**own, **given}
    versions = made_from.installed()
    library = made_from.library(book.root / "specrec_core", chapter)
    code = weaving.code(text)
    timed = made_from.timed(book.root / "book" / "speed", code)
    estimated = made_from.estimated(code)
    key = (code, made, versions, library, made_from.at_hand(chapter, code), *timed, *estimated)
    before = digest(key, made_from.measured(chapter, data))
    if page is not None and before == _state(book).get(chapter) == _key(page) and not force:
        same = weaving.written(page) == weaving.written(text)
        if not same:
            weaving.write_notebook(weaving.woven(text, page), book.page(chapter))
        print(f"{head}: {'up to date' if same else 'new prose, outputs kept'}", flush=True)
        return
    print(f"{head}: executing with {_list(made)}", flush=True)
    start = time.perf_counter()
    executed = _execute(book, chapter, text, given)
    # The chapter may have left records: what counts next time is how things stand now.
    after = digest(key, made_from.measured(chapter, data))
    executed.metadata["specrec"] = {
        "fingerprint": after,
        **{k: made.get(k, wanted[k]) for k in wanted},
        "parameters": made,
        "versions": versions,
    }
    weaving.write_notebook(executed, book.page(chapter))
    _remember(book, chapter, after)
    print(f"{head}: done in {time.perf_counter() - start:.0f} s", flush=True)


def weave(book: Book, *, check: bool = False) -> None:
    """Put the prose of the texts into the published pages; nothing is executed.

    Raises
    ------
    BookError
        If a page was executed with other code than its chapter now has or, with ``check``, if a
        page differs from its chapter in any way.
    """
    stale = []
    for chapter in book.chapters():
        text, page = weaving.read_text(book, chapter), weaving.read_page(book, chapter)
        if page is None or weaving.code(page) != weaving.code(text):
            stale.append(chapter)
        elif weaving.written(page) != weaving.written(text):
            if check:
                stale.append(chapter)
            else:
                weaving.write_notebook(weaving.woven(text, page), book.page(chapter))
                print(f"{chapter}: new prose, outputs kept")
    if stale:
        raise BookError(f"behind their texts: pages {', '.join(stale)}; run `make book`")


def build(book: Book) -> Path:
    """Build the pages where anything they are made from has changed; return the first page."""
    first = book.root / "_build" / "html" / "index.html"
    folders = [made_from.files(book.root / name) for name in ("book", "specrec_core")]
    inputs = digest(folders, *_settings(book))
    if first.exists() and _state(book).get("html") == inputs:
        print("the pages are up to date")
        return first
    _remember(book, "html", "")  # a build that fails leaves pages of which nothing is known
    _jupyter_book(book, "html")
    _remember(book, "html", inputs)
    return first


def pdf(book: Book) -> Path:
    """Print the whole book to ``_build/specrec.pdf`` with chromium."""
    browser = next((b for b in map(shutil.which, BROWSERS) if b), None)
    if browser is None:
        raise BookError("the PDF is printed by chromium, which is not here: apt install chromium")
    _jupyter_book(book, "singlehtml")
    # The single page is written one level down; moved up it finds its styles and figures.
    folder, out = book.root / "_build" / "singlehtml", book.root / "_build" / "specrec.pdf"
    out.unlink(missing_ok=True)
    # What is folded on a screen, proofs and answers, lies open on paper.
    page, text = folder / "all.html", (folder / "book" / "intro.html").read_text("utf-8")
    page.write_text(text.replace('<details class="sd-', '<details open class="sd-'), "utf-8")
    profile = book.root / "_build" / "chromium"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
    command += ["--virtual-time-budget=60000", "--no-pdf-header-footer", f"--print-to-pdf={out}"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, check=False)
    if done.returncode or not out.exists():
        raise BookError(f"{browser} did not print the book:\n{done.stderr}")
    return out


def _data(chapter: str, own: dict[str, Any]) -> str:
    missing = made_from.missing_data(chapter)
    if not missing:
        return "real"
    names, reasons, line = ", ".join(missing), "\n".join(missing.values()), "!" * 88
    if "data" not in own:
        raise BookError(f"{chapter} has no `data` parameter to do without {names}:\n{reasons}")
    print(
        f"{line}\n{chapter}: {names} cannot be had, so it runs on SYNTHETIC data, and its page "
        f"says so.\n{reasons}\n{line}",
        flush=True,
    )
    return "synthetic"


def _execute(book: Book, chapter: str, text: NotebookNode, given: dict[str, Any]) -> NotebookNode:
    """Run a copy aside, so that only a chapter of which every cell has passed is published."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    # Steps as small as a chapter's are faster on one thread than on several.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    aside = book.root / "_build" / "running" / f"{chapter}.ipynb"
    aside.parent.mkdir(parents=True, exist_ok=True)
    copy = nbformat.from_dict(json.loads(json.dumps(text)))
    for cell in copy.cells:
        cell.metadata.setdefault("tags", [])
    bar = {"desc": f"  {chapter}", "leave": False}
    quiet = ["--log-level=ERROR"]  # the kernel would remark on its sockets
    try:
        papermill.execute_notebook(
            copy,
            str(aside),
            given,
            cwd=book.root,
            kernel_name="python3",
            progress_bar=bar,
            extra_arguments=quiet,
        )
    except papermill.PapermillExecutionError as error:
        trace = "\n".join(error.traceback)
        raise BookError(
            f"notebooks/{chapter}.md, code cell {error.exec_count}:\n\n{error.source}\n\n{trace}"
            f"\n\nWhat ran until then is in {aside.relative_to(book.root)}"
        ) from error
    except (DeadKernelError, CellTimeoutError) as error:
        raise BookError(f"notebooks/{chapter}.md: {error} (was memory short?)") from error
    return weaving.woven(text, nbformat.read(aside, as_version=4))


def _jupyter_book(book: Book, builder: str) -> None:
    call = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", call, "build", str(book.root), *BUILD, "--builder", builder]
    path = os.pathsep.join(filter(None, [str(book.root), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    environment.pop("SPECREC_RESULTS", None)  # the pages show the book's own records
    print(f"building the pages ({builder}); a warning is an error", flush=True)
    quiet = subprocess.DEVNULL  # what matters, the warnings, come on the other stream
    done = subprocess.run(command, cwd=book.root, env=environment, stdout=quiet, check=False)
    if done.returncode:
        raise BookError("the pages were not built: see the warnings above")


def _settings(book: Book) -> list[bytes]:
    paths = (book.root / name for name in ("_config.yml", "_toc.yml", "requirements.txt"))
    return [path.read_bytes() for path in paths if path.exists()]


def _key(page: NotebookNode) -> str | None:
    return page.metadata.get("specrec", {}).get("fingerprint")


def _state(book: Book) -> dict[str, str]:
    path = book.root / "_build" / "executed.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def _remember(book: Book, key: str, value: str) -> None:
    records.write_json(book.root / "_build" / "executed.json", {**_state(book), key: value})


def _list(parameters: dict[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in parameters.items()) or "no parameters"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m specrec_core.book", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("what", choices=("run", "weave", "pair", "build", "pdf"))
    parser.add_argument("chapters", nargs="*", help="for run: names of chapters; all by default")
    parser.add_argument("--profile", default="quick", choices=catalogue.PROFILES)
    parser.add_argument("--device", help="for example cuda; each chapter's own default otherwise")
    parser.add_argument("--force", action="store_true", help="execute even what has not changed")
    parser.add_argument("--check", action="store_true", help="with weave: change nothing, only say")
    options, book = parser.parse_args(arguments), Book()
    if options.chapters and options.what != "run":
        parser.error(f"{options.what} takes no chapters: it is of the whole book")
    try:
        if options.what == "run":
            given = {k: getattr(options, k) for k in ("profile", "device", "force")}
            run(book, options.chapters, **given)
        elif options.what == "weave":
            weave(book, check=options.check)
        elif options.what == "pair":
            done = [c for c in book.chapters() if weaving.write_pair(book, c)]
            print(f"written: {', '.join(done) or 'nothing, all pairs were in sync'}")
        elif options.what == "build":
            print(f"open {build(book)}")
        else:
            print(f"open {pdf(book)}")
    except BookError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
