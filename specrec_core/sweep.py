"""Run the records that are missing: within a time budget, resumable at any moment.

Each experiment's record is written when it ends, so a sweep may be killed whenever one likes: it
loses what is under way (on a CPU a seed, on a GPU an experiment), and the next sweep starts with
what is still missing.

A sweep runs here, in several processes, or on any `concurrent.futures.Executor`: many machines by
``--dask``, see `specrec_core.crew`. Whoever runs a step, the process that sweeps writes its record.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait

from specrec_core import catalogue, crew, parts, records
from specrec_core.estimates import Estimate, Room, duration, span
from specrec_core.parts import Work
from specrec_core.records import Record


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


def sweep(
    experiments: dict[str, Work],
    *,
    device: str = "cpu",
    budget: float | None = None,
    workers: int = 1,
    executor: Executor | None = None,
    shortest_first: bool = False,
) -> int:
    """Run what is missing and return how many experiments are left.

    Longest first, so that no worker is left with a long one when the others have ended; what no
    record tells the length of comes last. An experiment that fails is reported and does not stop
    the others; one whose worker dies is tried again, three times in all. On a CPU an experiment
    runs seed by seed, see `specrec_core.parts`.

    Parameters
    ----------
    budget
        In seconds. What should take longer than what is left of it is passed over, and what is
        still under way at the end is dropped.
    workers
        Steps under way at once, in processes of this machine, one thread each; 1: one after
        another, each on all threads. On a CPU, steps that together need more memory than there is
        wait for one another, as far as `specrec_core.estimates.Room` can tell.
    executor
        Runs the steps instead; the caller shuts it down. `experiments.run` must be importable
        where it runs them, and the data be there; records are written here.
    shortest_first
        As many records as can be had soon.
    """
    left = missing(experiments)
    past = list(records.known())
    estimate = Estimate(past, device)
    sign = 1 if shortest_first else -1
    steps = [step for key, whole in left.items() for step in _steps(key, whole, device)]
    expected = [estimate.seconds(part) for _, part, _ in steps]
    order = sorted(
        range(len(steps)), key=lambda i: (expected[i] is None, sign * (expected[i] or 0.0))
    )
    todo = [steps[i] for i in order]
    report(left, estimate)
    failed: dict[str, str] = {}
    ends = None if budget is None else time.monotonic() + budget
    try:
        if executor is not None:
            _spread(todo, executor, workers, device, 1, ends, failed)
        elif workers == 1 and budget is None:
            _one_after_another(todo, device, failed)
        else:
            threads = 1 if workers > 1 else None
            here, room = crew.Processes(workers, threads), Room(past) if device == "cpu" else None
            try:
                _spread(todo, here, workers, device, threads, ends, failed, room)
            finally:
                here.shutdown(cancel_futures=True)
    except KeyboardInterrupt:
        print("\nstopped: records so far are kept; the same command goes on from here")
    left = missing(experiments)
    report(left, Estimate(list(records.known()), device))
    for key, reason in failed.items():
        print(f"  failed {key}: {reason}")
    return len(left)


# What one experiment may do wrong; anything else is a mistake in the library and stops the sweep.
FAILURES = (FloatingPointError, ValueError, OSError, MemoryError, RuntimeError, ImportError)
ATTEMPTS = 3


def _failed(key: str, error: BaseException, failed: dict[str, str]) -> None:
    failed[key] = f"{type(error).__name__}: {error}"
    print(f"FAILED {key}: {failed[key]}", file=sys.stderr, flush=True)


Step = tuple[str, Work, Work]
"""Key, what is to be run, and the experiment that it is a seed of (or itself)."""


def _steps(key: str, whole: Work, device: str) -> list[Step]:
    if device != "cpu" or len(whole.seeds) == 1:
        return [(key, whole, whole)]
    return [(f"{key}, seed {part.seeds[0]}", part, whole) for part in parts.seeds_of(whole)]


def made(part: Work, device: str, threads: int | None) -> Record:
    """What a worker does: run a step and return its record."""
    import torch

    from specrec_core import experiments, memory

    if threads is None:
        return experiments.run(part, device=device)
    torch.set_num_threads(threads)
    try:
        return experiments.run(part, device=device, progress=False)
    finally:
        memory.give_back()  # the next step may be that of another process


def _there(part: Work, whole: Work) -> bool:
    """Whether this step has been made meanwhile, perhaps by another sweep."""
    return records.find(whole) is not None or (part != whole and parts.find(part) is not None)


def _keep(record: Record, part: Work, whole: Work) -> None:
    """Write it, unless another sweep was faster: then that one's stays."""
    if not _there(part, whole):
        record.publish(None if part == whole else parts.folder())
    if part != whole:
        parts.assemble(whole)


def _one_after_another(todo: list[Step], device: str, failed: dict[str, str]) -> None:
    for number, (key, part, whole) in enumerate(todo, 1):
        print(f"[{number}/{len(todo)}] {key}", flush=True)
        try:
            if _there(part, whole):
                parts.assemble(whole)
            else:
                _keep(made(part, device, None), part, whole)
        except FAILURES as error:
            _failed(key, error, failed)


def _spread(
    todo: list[Step],
    executor: Executor,
    at_once: int,
    device: str,
    threads: int | None,
    ends: float | None,
    failed: dict[str, str],
    room: Room | None = None,
) -> None:
    """Keep ``at_once`` steps under way until none is left or the budget is spent."""
    running: dict[Future[Record], Step] = {}
    waiting, total, begun = list(todo), len(todo), set[str]()
    lost: Counter[str] = Counter()
    passed_over: set[str] = set()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                place = _next(waiting, [part for _, part, _ in running.values()], room)
                if place is None:
                    break
                key, part, whole = waiting.pop(place)
                begun.add(key)
                if _there(part, whole):
                    parts.assemble(whole)
                    continue
                needs = _too_long(part, device, ends)
                if needs is not None:
                    if whole.name not in passed_over:
                        rest = "more than is left of the budget"
                        print(f"passed over {key}: it needs about {span(needs)}, {rest}")
                    passed_over.add(whole.name)
                    continue
                print(f"[{len(begun)}/{total}] {key}", flush=True)
                running[executor.submit(made, part, device, threads)] = (key, part, whole)
            if not running:
                break
            limit = None if ends is None else max(0.0, ends - time.monotonic())
            done, _ = wait(running, timeout=limit, return_when=FIRST_COMPLETED)
            if not done:
                under_way = ", ".join(key for key, _, _ in running.values())
                print(f"budget spent: {under_way} dropped, records so far are kept")
                break
            several = len(running) > 1
            for future in done:
                key, part, whole = running.pop(future)
                try:
                    record = future.result()
                    _keep(record, part, whole)
                    if room is not None:
                        room.learn(record)
                except Exception as error:
                    if crew.died(error):
                        lost[key] += 1
                        if lost[key] < ATTEMPTS:
                            print(f"the worker of {key} died: trying again", flush=True)
                            waiting.insert(0, (key, part, whole))
                            continue
                        _failed(key, RuntimeError(f"its worker died {ATTEMPTS} times"), failed)
                    elif isinstance(error, MemoryError) and room is not None and several:
                        print(f"{key} has too little memory beside others: later, alone")
                        room.alone(part)
                        waiting.append((key, part, whole))
                    elif isinstance(error, FAILURES):
                        _failed(key, error, failed)
                    else:
                        raise
    finally:
        for future in running:
            future.cancel()


def _next(waiting: Sequence[Step], under_way: Sequence[Work], room: Room | None) -> int | None:
    """Place of the first that there is room for beside those under way, if there is one."""
    for place, (_, part, _) in enumerate(waiting):
        if room is None or room.fits(part, under_way):
            return place
    return None


def _too_long(experiment: Work, device: str, ends: float | None) -> float | None:
    """The seconds that it should take, if what is left of the budget should not be enough."""
    if ends is None:
        return None
    needs = Estimate(list(records.known()), device).seconds(experiment)
    return needs if needs is not None and needs > ends - time.monotonic() else None


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
    for name, text in (("list", "show what is missing"), ("run", "run what is missing")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--only", nargs="*", default=[], help="keys that contain one of these")
        command.add_argument("--device", default="cpu", help="cpu, cuda, or auto: cuda if present")
        if name == "run":
            command.add_argument("--budget", type=duration, help="stop after 90s, 9m, 1.5h …")
            command.add_argument("--workers", type=int, help=WORKERS)
            command.add_argument("--dask", metavar="ADDRESS", help="scheduler, tcp://host:8786")
            command.add_argument(
                "--shortest-first", action="store_true", help="by default the longest goes first"
            )
            command.add_argument("--results", help="folder for the records (SPECREC_RESULTS)")
    options = parser.parse_args(arguments)
    if options.command == "run" and options.workers is not None and options.workers < 1:
        parser.error(f"--workers is {options.workers}: expected at least 1")
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
    executor, workers = None, options.workers
    if workers is None:
        workers = crew.cores() if device == "cpu" else 1
    if options.dask:
        try:
            executor, workers = crew.dask(options.dask)
        except (ImportError, OSError) as error:
            sys.exit(str(error))
        print(f"{options.dask}: {workers} steps at once")
    elif workers > 1:
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

    present = torch.cuda.is_available()
    if name == "auto":
        chosen = "cuda" if present else "cpu"
        print(f"device auto: {chosen}", file=sys.stderr)
        return chosen
    if name.startswith("cuda") and not present:
        sys.exit(f"device is {name!r}, but torch sees no CUDA device: use --device cpu")
    return name
