"""Run the records that are missing: within a time budget, resumable at any moment.

Each experiment's record is written when it ends, so a sweep may be killed whenever one likes: it
loses what is under way (on a CPU a seed, on a GPU the experiments that train together), and the
next sweep starts with what is still missing.

A sweep runs here, in several processes, or on any `concurrent.futures.Executor`: many machines by
``--dask``, see `specrec_core.crew`. Whoever runs a step, the process that sweeps writes its record.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from specrec_core import catalogue, claims, crew, parts, records, scheduling
from specrec_core.arguments import device_named
from specrec_core.estimates import Estimate, Room, duration, span
from specrec_core.parts import Together, Work
from specrec_core.progress import until_closed
from specrec_core.records import Experiment


def wanted(only: Sequence[str] = ()) -> dict[str, Work]:
    """``chapter/label`` → experiment of the `paper` profile.

    ``only`` keeps those of these keys and names; of what is neither, all whose keys contain it.
    """
    every = {
        f"{chapter}/{label}": experiment
        for chapter in catalogue.chapters()
        for label, experiment in catalogue.suite(chapter, "paper").items()
    }
    if not only:
        return every
    names = {e.name for e in every.values()}
    exact = {part for part in only if part in every or part in names}
    kept = {
        key: e
        for key, e in every.items()
        if key in exact or e.name in exact or any(p in key for p in only if p not in exact)
    }
    unknown = [p for p in only if p not in exact and not any(p in key for key in every)]
    if unknown:
        raise ValueError(f"only has {unknown}: no experiment matches; see the list command")
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


def sweep(
    experiments: dict[str, Work],
    *,
    device: str = "cpu",
    budget: float | None = None,
    workers: int | Callable[[], int] = 1,
    executor: Executor | None = None,
    shortest_first: bool = False,
) -> int:
    """Run what is missing and return how many experiments are left.

    Longest first, so that no worker is left with a long one when the others have ended; what no
    record tells the length of comes last, the least work first. An experiment that fails is
    reported and does not stop the others; one whose worker dies is tried again, three times in
    all. On a CPU an experiment runs seed by seed; on a GPU those of one `specrec_core.parts.kind`
    run together, and one by one if that fails or should take longer than is left.

    Parameters
    ----------
    budget
        In seconds. What should take longer than what is left of it is passed over, and what is
        still under way at the end is dropped.
    workers
        Steps under way at once, in processes of this machine, one thread each; 1: one after
        another, each on all threads. On a CPU, steps that together need more memory than there is
        wait for one another, as far as `specrec_core.estimates.Room` can tell. With an executor
        it may be a function, which is asked again as time goes.
    executor
        Runs the steps instead; the caller shuts it down. `experiments.run` must be importable
        where it runs them, and the data be there; records are written here.
    shortest_first
        As many records as can be had soon.
    """
    if executor is None and callable(workers):
        raise ValueError("workers is a function: expected a number, or an executor with it")
    left = missing(experiments)
    past = list(records.known())
    estimate = Estimate(past, device)
    sign = 1 if shortest_first else -1
    report(left, estimate)
    failed = refused(left) if executor is None and device == "cpu" else {}
    steps = scheduling.steps_of({k: e for k, e in left.items() if k not in failed}, device)
    expected = [estimate.seconds(step.part) for step in steps]

    def place(i: int) -> tuple[bool, float]:
        seconds = expected[i]
        return (True, work(steps[i].part)) if seconds is None else (False, sign * seconds)

    todo = [steps[i] for i in sorted(range(len(steps)), key=place)]
    ends = None if budget is None else time.monotonic() + budget
    try:
        if executor is not None:
            scheduling.spread_over(todo, executor, workers, device, 1, ends, failed, estimate)
        elif workers == 1 and budget is None:
            scheduling.one_after_another(todo, device, failed)
        else:
            assert not callable(workers)
            threads = 1 if workers > 1 else None
            here, room = crew.Processes(workers, threads), Room(past) if device == "cpu" else None
            try:
                scheduling.spread_over(
                    todo, here, workers, device, threads, ends, failed, estimate, room
                )
            finally:
                here.shutdown(cancel_futures=True)
    except KeyboardInterrupt:
        print("\nstopped: records so far are kept; the same command goes on from here")
    left = missing(experiments)
    report(left, Estimate(list(records.known()), device))
    for key, reason in failed.items():
        print(f"  failed {key}: {reason}")
    return len(left)


def work(part: Work | Together) -> float:
    """How much there is to do, in units that compare what no record tells the length of."""
    if isinstance(part, Together):
        return sum(map(work, part.experiments))
    return float(part.dim * part.epochs * len(part.seeds)) if isinstance(part, Experiment) else 0.0


def refused(left: dict[str, Work]) -> dict[str, str]:
    """Why those cannot be completed here of which seeds are kept that other versions made."""
    from specrec_core import running

    now, found = running.versions(), {}
    for key, whole in left.items():
        try:
            parts.check_versions(whole, now)
        except ValueError as error:
            found[key] = str(error)
    return found


def report(left: dict[str, Work], estimate: Estimate) -> None:
    """Print what is missing and how long it should take."""
    if not left:
        print("every record is there")
        return
    total, unknown = 0.0, 0
    for key, experiment in left.items():
        seconds = estimate.seconds(experiment)
        total, unknown = total + (seconds or 0.0), unknown + (seconds is None)
        print(f"  missing {experiment.name}  {span(seconds):>10}  {key}")
    known = f"about {span(total)} one after another" if unknown < len(left) else ""
    also = f"{unknown} of a length that no record tells yet" if unknown else ""
    print(f"{len(left)} missing: {', and '.join(filter(None, (known, also)))}")


def show(experiments: dict[str, Work]) -> None:
    """Print of each experiment the file of its record, the settings and what was measured."""
    for key, experiment in experiments.items():
        print(f"{key}\n  settings  {experiment.definition()}")
        path = records.path_of(experiment)
        if path is None:
            print("  not run yet")
            continue
        found = records.read(path)
        made_with = ", ".join(" ".join(version) for version in found.versions.items())
        print(f"  record    {path}\n  made      {found.device}, {made_with}")
        for metric, values in found.metrics.items():
            print(f"  {metric:<40} {claims.show([math.nan if v is None else v for v in values])}")


ONLY = "keys (as list prints them), names of records, or parts of keys: all that contain one"
WORKERS = (
    "steps at once, in processes of one thread each; by default on a CPU one for each core, and on "
    "a GPU 1. With 1 they run one after another, each on all threads. On a CPU a step waits while "
    "it and those under way need more memory than there is, as far as records tell what it needs"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of ``python -m specrec_core.experiments``."""
    parser = argparse.ArgumentParser(
        prog="python -m specrec_core.experiments", description="Run the records that are missing."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    showing = commands.add_parser(
        "show", help="where the record of an experiment is, and its numbers"
    )
    showing.add_argument("only", nargs="+", metavar="KEY", help="keys, names, or parts of keys")
    for name, text in (("list", "show what is missing"), ("run", "run what is missing")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--only", nargs="*", default=[], help=ONLY)
        command.add_argument("--device", default="cpu", help="cpu, cuda, or auto: cuda if present")
        if name == "run":
            command.add_argument("--budget", type=duration, help="stop after 90s, 9m, 1.5h")
            command.add_argument("--workers", type=int, help=WORKERS)
            command.add_argument("--dask", metavar="ADDRESS", help="scheduler, tcp://host:8786")
            command.add_argument(
                "--shortest-first", action="store_true", help="by default the longest goes first"
            )
            command.add_argument("--results", help="folder for the records (SPECREC_RESULTS)")
    options = parser.parse_args(arguments)
    if options.command == "run" and options.workers is not None and options.workers < 1:
        parser.error(f"--workers is {options.workers}: expected at least 1")
    try:
        experiments = wanted(options.only)
        if options.command == "show":
            with until_closed():
                show(experiments)
            return 0
        dask = getattr(options, "dask", None)
        # Those of other machines are looked for there.
        device = _device(options.device) if dask is None else device_named(options.device)
    except ValueError as error:
        parser.error(str(error))
    if options.command == "list":
        with until_closed():
            report(missing(experiments), Estimate(list(records.known()), device))
        return 0
    if options.results:
        os.environ["SPECREC_RESULTS"] = options.results
    budget = "" if options.budget is None else f", for {span(options.budget)} at most"
    print(f"device {device}{budget}, records go to {records.written_to()}")
    executor: Executor | None = None
    workers: int | Callable[[], int] = options.workers or (crew.cores() if device == "cpu" else 1)
    if options.dask:
        try:
            executor, workers = crew.dask(options.dask)
        except (ImportError, OSError, ValueError) as error:
            sys.exit(str(error))
        print(f"{options.dask}: {workers()} steps at once, and more as workers come")
    elif workers != 1:
        print(f"{workers} steps at once, one thread each")
    left = sweep(
        experiments,
        device=device,
        budget=options.budget,
        workers=workers,
        executor=executor,
        shortest_first=options.shortest_first,
    )
    return 0 if left == 0 or options.budget is not None else 1


def _device(name: str) -> str:
    import torch

    from specrec_core import running

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        print(f"device auto: {name}", file=sys.stderr)
    return str(running.device_of(name))
