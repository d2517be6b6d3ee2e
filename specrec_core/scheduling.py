"""The steps of a sweep, and carrying them out: one after another, or several at once.

A step is an experiment, on a CPU one seed of it, on a GPU perhaps several experiments as replicas
of one model. What fails does not stop the others; who is killed loses what is under way.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait

from specrec_core import crew, parts, records
from specrec_core.estimates import Estimate, Room, span
from specrec_core.parts import Together, Work
from specrec_core.records import Record

# What one experiment may do wrong; anything else is a mistake in the library and stops the sweep.
FAILURES = (FloatingPointError, ValueError, OSError, MemoryError, RuntimeError, ImportError)
ATTEMPTS = 3


def _failed(key: str, error: BaseException, failed: dict[str, str]) -> None:
    failed[key] = f"{type(error).__name__}: {error}"
    print(f"FAILED {key}: {failed[key]}", file=sys.stderr, flush=True)


Step = tuple[str, Work | Together, Work | Together]
"""Key, what is to be run, and the experiment that it is a seed of (or itself)."""


def steps_of(left: dict[str, Work], device: str) -> list[Step]:
    """What is to be run of the experiments ``left``: seeds on a CPU, groups on a GPU."""
    if device != "cpu":
        return [
            (f"{key} and {len(e.experiments) - 1} more" if isinstance(e, Together) else key, e, e)
            for key, e in parts.grouped(left).items()
        ]
    return [
        step
        for key, whole in left.items()
        for step in (
            [(key, whole, whole)]
            if len(whole.seeds) == 1
            else [(f"{key}, seed {part.seeds[0]}", part, whole) for part in parts.seeds_of(whole)]
        )
    ]


def _one_by_one(together: Together) -> list[Step]:
    return [(e.name, e, e) for e in together.experiments]


def made(part: Work | Together, device: str, threads: int | None) -> Record | list[Record]:
    """What a worker does: run a step and return its record, or those of a group."""
    import torch

    from specrec_core import experiments, memory

    if threads is not None:
        torch.set_num_threads(threads)
    try:
        if isinstance(part, Together):
            missing = [e for e in part.experiments if records.find(e) is None]
            return experiments.run_together(missing, device=device, progress=threads is None)
        return experiments.run(part, device=device, progress=threads is None)
    finally:
        if threads is not None:
            memory.give_back()  # the next step may be that of another process


def _there(part: Work | Together, whole: Work | Together) -> bool:
    """Whether this step has been made meanwhile, perhaps by another sweep."""
    if isinstance(part, Together) or isinstance(whole, Together):
        return isinstance(part, Together) and all(map(records.find, part.experiments))
    return records.find(whole) is not None or (part != whole and parts.find(part) is not None)


def _keep(made_now: Record | list[Record], part: Work | Together, whole: Work | Together) -> None:
    """Write it, unless another sweep was faster: then that one's stays."""
    for record in made_now if isinstance(made_now, list) else [made_now]:
        if part == whole:
            if records.find(record.experiment) is None:
                record.publish()
        elif not _there(part, whole):
            record.publish(parts.folder())
    _assemble(part, whole)


def _assemble(part: Work | Together, whole: Work | Together) -> None:
    if part != whole and not isinstance(whole, Together):
        parts.assemble(whole)


def one_after_another(todo: list[Step], device: str, failed: dict[str, str]) -> None:
    """Carry the steps out here; ``failed`` takes what went wrong, by key."""
    waiting, total, begun = list(todo), len(todo), 0
    while waiting:
        key, part, whole = waiting.pop(0)
        begun += 1
        print(f"[{begun}/{total}] {key}", flush=True)
        try:
            if _there(part, whole):
                _assemble(part, whole)
            else:
                _keep(made(part, device, None), part, whole)
        except FAILURES as error:
            if isinstance(part, Together):
                _apart(key, part, error)
                waiting[:0] = _one_by_one(part)
                total += len(part.experiments)
            else:
                _failed(key, error, failed)


def _apart(key: str, together: Together, error: BaseException) -> None:
    reason = f"{type(error).__name__}: {error}"
    print(f"{key}: {reason}\n{len(together.experiments)} experiments one by one", flush=True)


def spread_over(
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
    running: dict[Future[Record | list[Record]], Step] = {}
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
                    _assemble(part, whole)
                    continue
                needs = _too_long(part, device, ends)
                if needs is not None and isinstance(part, Together):
                    waiting[:0] = _one_by_one(part)
                    total += len(part.experiments)
                    continue
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
                    found = future.result()
                    _keep(found, part, whole)
                    if room is not None and isinstance(found, Record):
                        room.learn(found)
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
                    elif isinstance(error, FAILURES) and isinstance(part, Together):
                        _apart(key, part, error)
                        waiting[:0] = _one_by_one(part)
                        total += len(part.experiments)
                    elif isinstance(error, FAILURES):
                        _failed(key, error, failed)
                    else:
                        raise
    finally:
        for future in running:
            future.cancel()


def _next(
    waiting: Sequence[Step], under_way: Sequence[Work | Together], room: Room | None
) -> int | None:
    """Place of the first that there is room for beside those under way, if there is one."""
    for place, (_, part, _) in enumerate(waiting):
        if room is None or room.fits(part, under_way):
            return place
    return None


def _too_long(experiment: Work | Together, device: str, ends: float | None) -> float | None:
    """The seconds that it should take, if what is left of the budget should not be enough."""
    if ends is None:
        return None
    needs = Estimate(list(records.known()), device).seconds(experiment)
    return needs if needs is not None and needs > ends - time.monotonic() else None
