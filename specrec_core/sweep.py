"""Run the records that are missing: within a time budget, resumable at any moment.

Each experiment's record is written when it ends, so a sweep may be killed whenever one likes: it
loses what is under way (on a CPU a seed, on a GPU an experiment), and the next sweep starts with
what is still missing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

from specrec_core import catalogue, parts, records
from specrec_core.parts import Work
from specrec_core.records import Experiment, Record
from specrec_core.studies import Study


def wanted(only: Sequence[str] = ()) -> dict[str, Work]:
    """``chapter/label`` → experiment of the `paper` profile; ``only`` keeps what contains one."""
    every = {
        f"{chapter}/{label}": experiment
        for chapter in catalogue.chapters()
        for label, experiment in catalogue.suite(chapter, "paper").items()
    }
    if not only:
        return every
    kept = {key: e for key, e in every.items() if any(part in key for part in only)}
    if not kept:
        raise ValueError(f"only is {' '.join(only)!r}: no experiment matches; see the list command")
    return kept


def missing(experiments: dict[str, Work]) -> dict[str, Work]:
    """Those without a record; an experiment that stands under two keys counts once."""
    seen: set[str] = set()
    left = {}
    for key, experiment in experiments.items():
        if experiment.name not in seen and records.find(experiment) is None:
            left[key] = experiment
        seen.add(experiment.name)
    return left


class Estimate:
    """Seconds that an experiment should take, from the records there are.

    Time is taken as proportional to training interactions × dimension × negatives × epochs run,
    with one constant per model and kind of device (the median over records), and the epochs run as
    the median share of the budget that early stopping left. A study is expected to take what the
    studies of its kind took on its data, or else on any, the median per seed.
    """

    def __init__(self, past: Sequence[Record], device: str) -> None:
        self.rates: dict[str, list[float]] = {}
        self.sizes: dict[str, int] = {}
        shares: list[float] = []
        for r in past:
            e = r.experiment
            if isinstance(e, Study):
                for key in (e.kind, f"{e.kind} {e.dataset}"):
                    self.rates.setdefault(key, []).extend(r.seconds)
                continue
            self.sizes[e.dataset] = r.data["train"]
            shares.extend(ran / e.epochs for ran in r.epochs_run)
            if r.device.startswith("cpu") != (device == "cpu"):
                continue
            work = self._work(e, self.sizes[e.dataset])
            for seconds, ran in zip(r.seconds, r.epochs_run, strict=True):
                if ran:
                    self.rates.setdefault(e.model, []).append(seconds / ran / work)
        self.share = statistics.median(shares) if shares else 1.0

    @staticmethod
    def _work(e: Experiment, interactions: int) -> float:
        return interactions * e.dim * (2 + e.negatives)

    def seconds(self, e: Work) -> float | None:
        """For all seeds together, one after another; None where no record tells."""
        if isinstance(e, Study):
            known = self.rates.get(f"{e.kind} {e.dataset}") or self.rates.get(e.kind)
            return statistics.median(known) * len(e.seeds) if known else None
        if e.model not in self.rates or e.dataset not in self.sizes:
            return None
        rate = statistics.median(self.rates[e.model])
        epochs = e.epochs * self.share * len(e.seeds)
        return rate * self._work(e, self.sizes[e.dataset]) * epochs


def sweep(
    experiments: dict[str, Work],
    *,
    device: str = "cpu",
    budget: float | None = None,
    workers: int = 1,
) -> int:
    """Run what is missing, shortest first, and return how many are left.

    An experiment that fails is reported and does not stop the others. With a ``budget`` in
    seconds, one that should take longer than what is left is passed over, and what is still under
    way at the end is dropped. ``workers`` above 1 spreads experiments over processes, one thread
    each. On a CPU an experiment runs seed by seed, see `specrec_core.parts`.
    """
    left = missing(experiments)
    estimate = Estimate(list(records.known()), device)
    order = sorted(left, key=lambda key: estimate.seconds(left[key]) or float("inf"))
    report(left, estimate)
    todo = [step for key in order for step in _steps(key, left[key], device)]
    failed: dict[str, str] = {}
    try:
        if workers == 1 and budget is None:
            for number, (key, part, whole) in enumerate(todo, 1):
                print(f"[{number}/{len(todo)}] {key}", flush=True)
                try:
                    _run_one(part, whole, device, None)
                except FAILURES as error:
                    _failed(key, error, failed)
        else:
            ends = None if budget is None else time.monotonic() + budget
            _in_processes(todo, device, workers, ends, failed)
    except KeyboardInterrupt:
        print("\nstopped: records so far are kept; the same command goes on from here")
    left = missing(experiments)
    report(left, Estimate(list(records.known()), device))
    for key, reason in failed.items():
        print(f"  failed {key}: {reason}")
    return len(left)


# What one experiment may do wrong; anything else is a mistake in the library and stops the sweep.
FAILURES = (FloatingPointError, ValueError, OSError, MemoryError, RuntimeError, ImportError)


def _failed(key: str, error: BaseException, failed: dict[str, str]) -> None:
    failed[key] = f"{type(error).__name__}: {error}"
    print(f"FAILED {key}: {failed[key]}", file=sys.stderr, flush=True)


Step = tuple[str, Work, Work]
"""Key, what is to be run, and the experiment that it is a seed of (or itself)."""


def _steps(key: str, whole: Work, device: str) -> list[Step]:
    if device != "cpu" or len(whole.seeds) == 1:
        return [(key, whole, whole)]
    return [(f"{key}, seed {part.seeds[0]}", part, whole) for part in parts.seeds_of(whole)]


def _run_one(part: Work, whole: Work, device: str, threads: int | None) -> None:
    """Run it, unless another process has done so meanwhile."""
    import torch

    from specrec_core import experiments

    if threads is not None:
        torch.set_num_threads(threads)
    if records.find(whole) is not None:
        return
    if part == whole:
        experiments.run(whole, device=device, progress=threads is None).save()
        return
    if parts.find(part) is None:
        experiments.run(part, device=device, progress=threads is None).save(parts.folder())
    parts.assemble(whole)


def _in_processes(
    todo: list[Step],
    device: str,
    workers: int,
    ends: float | None,
    failed: dict[str, str],
) -> None:
    """Run experiments in processes of their own, so that one under way can be ended cleanly."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_die_with_parent)
    running: dict[Future[None], str] = {}
    waiting, total, started = list(todo), len(todo), 0
    threads = 1 if workers > 1 else None
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                key, part, whole = waiting.pop(0)
                started += 1
                if not _fits(key, part, device, ends):
                    continue
                print(f"[{started}/{total}] {key}", flush=True)
                running[pool.submit(_run_one, part, whole, device, threads)] = key
            if not running:
                break
            limit = None if ends is None else max(0.0, ends - time.monotonic())
            done, _ = wait(running, timeout=limit, return_when=FIRST_COMPLETED)
            if not done:
                under_way = ", ".join(running.values())
                print(f"budget spent: {under_way} dropped, records so far are kept")
                break
            for future in done:
                key = running.pop(future)
                try:
                    future.result()
                except FAILURES as error:
                    _failed(key, error, failed)
    finally:
        for process in list((pool._processes or {}).values()) if running else []:
            process.terminate()
        pool.shutdown(cancel_futures=True)


def _fits(key: str, experiment: Work, device: str, ends: float | None) -> bool:
    """Whether what is left of the budget should be enough; said where it is not."""
    needs = Estimate(list(records.known()), device).seconds(experiment)
    if ends is None or needs is None or needs <= ends - time.monotonic():
        return True
    print(f"passed over {key}: it needs about {_span(needs)}, more than is left of the budget")
    return False


def _die_with_parent() -> None:
    """End this worker when the process that started it is gone, killed or not."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def report(left: dict[str, Work], estimate: Estimate) -> None:
    """Print what is missing and how long it should take."""
    if not left:
        print("every record is there")
        return
    total, unknown = 0.0, 0
    for key, experiment in left.items():
        seconds = estimate.seconds(experiment)
        total, unknown = total + (seconds or 0.0), unknown + (seconds is None)
        print(f"  missing {experiment.name}  {_span(seconds):>10}  {key}")
    known = f"about {_span(total)} one after another" if unknown < len(left) else ""
    also = f"{unknown} of a length that no record tells yet" if unknown else ""
    print(f"{len(left)} missing: {', and '.join(filter(None, (known, also)))}")


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def duration(text: str) -> float:
    """``9m``, ``90s``, ``1.5h`` or plain seconds, as seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a duration such as 90s, 9m or 1.5h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of ``python -m specrec_core.experiments``."""
    parser = argparse.ArgumentParser(
        prog="python -m specrec_core.experiments", description="Run the records that are missing."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("list", "show what is missing"), ("run", "run what is missing")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--only", nargs="*", default=[], help="keys that contain one of these")
        command.add_argument("--device", default="cpu", help="cpu, cuda, or auto: cuda if present")
        if name == "run":
            command.add_argument("--budget", type=duration, help="stop after 90s, 9m, 1.5h …")
            command.add_argument("--workers", type=int, default=1, help="processes (CPU)")
            command.add_argument("--results", help="folder for the records (SPECREC_RESULTS)")
    options = parser.parse_args(arguments)
    device = _device(options.device)
    try:
        experiments = wanted(options.only)
    except ValueError as error:
        parser.error(str(error))
    if options.command == "list":
        report(missing(experiments), Estimate(list(records.known()), device))
        return 0
    if options.results:
        os.environ["SPECREC_RESULTS"] = options.results
    print(f"device {device}, records go to {records.written_to()}")
    left = sweep(experiments, device=device, budget=options.budget, workers=options.workers)
    return 0 if left == 0 or options.budget is not None else 1


def _device(name: str) -> str:
    import torch

    present = torch.cuda.is_available()
    if name == "auto":
        chosen = "cuda" if present else "cpu"
        print(f"device auto: {chosen}", file=sys.stderr)
        return chosen
    if name.startswith("cuda") and not present:
        sys.exit(f"device is {name!r}, but torch sees no CUDA device: use --device cpu")
    return name
