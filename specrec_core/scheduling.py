"""The steps of a sweep, and carrying them out: one after another, or several at once.

A step is an experiment, on a CPU one seed of it, on a GPU perhaps several experiments as replicas
of one model. What fails does not stop the others; who is killed loses what is under way.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass

from specrec_core import crew, parts, records
from specrec_core.estimates import Estimate, Room, span
from specrec_core.parts import Together, Work
from specrec_core.records import Record

# What one experiment may do wrong; anything else is a mistake in the library and stops the sweep.
FAILURES = (FloatingPointError, ValueError, OSError, MemoryError, RuntimeError, ImportError)
ATTEMPTS = 3
LOOK_AGAIN = 30.0  # seconds until workers are counted anew, where they may come and go


@dataclass(frozen=True)
class Step:
    """What is run at once, and the experiment ``whole`` that it is a seed of, if it is one."""

    key: str
    part: Work | Together
    whole: Work | None = None

    def there(self) -> bool:
        """Whether it has been made meanwhile, perhaps by another sweep; a last seed is joined."""
        if isinstance(self.part, Together):
            return all(map(records.find, self.part.experiments))
        if self.whole is None:
            return records.find(self.part) is not None
        if records.find(self.whole) is None and parts.find(self.part) is None:
            return False
        parts.assemble(self.whole)
        return True

    def left(self) -> Work | Together:
        """What is still to be run of it."""
        if not isinstance(self.part, Together):
            return self.part
        both = zip(self.part.keys, self.part.experiments, strict=True)
        left = [(key, e) for key, e in both if records.find(e) is None]
        return Together(tuple(key for key, _ in left), tuple(e for _, e in left))

    def keep(self, found: Record | list[Record]) -> None:
        """Write what was made, unless another sweep was faster: then that one's stays."""
        if self.whole is not None and not isinstance(found, list):
            if not self.there():
                found.publish(parts.folder())
                parts.assemble(self.whole)
            return
        for record in found if isinstance(found, list) else [found]:
            if records.find(record.experiment) is None:
                record.publish()

    def apart(self) -> list[Step]:
        """Its experiments one by one, if it has several."""
        if not isinstance(self.part, Together):
            return []
        both = zip(self.part.keys, self.part.experiments, strict=True)
        return [Step(key, experiment) for key, experiment in both]

    def first_apart(self) -> list[Step]:
        """The first of its experiments and the rest together, if it has several."""
        if not isinstance(self.part, Together):
            return []
        first, *others = self.apart()
        if len(others) == 1:
            return [first, *others]
        rest = Together(self.part.keys[1:], self.part.experiments[1:])
        return [first, Step(f"{rest.keys[0]} and {len(others) - 1} more", rest)]


def steps_of(left: dict[str, Work], device: str) -> list[Step]:
    """What is to be run of the experiments ``left``: seeds on a CPU, groups on a GPU."""
    steps = []
    if device != "cpu":
        for key, part in parts.grouped(left).items():
            others = len(part.keys) - 1 if isinstance(part, Together) else 0
            steps.append(Step(f"{key} and {others} more" if others else key, part))
        return steps
    for key, whole in left.items():
        if len(whole.seeds) == 1:
            steps.append(Step(key, whole))
            continue
        for part in parts.seeds_of(whole):
            steps.append(Step(f"{key}, seed {part.seeds[0]}", part, whole))
    return steps


def made(part: Work | Together, device: str, threads: int | None) -> Record | list[Record]:
    """What a worker does: run a step and return its record, or those of a group."""
    import torch

    from specrec_core import experiments, memory

    progress = threads is None
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        if isinstance(part, Together):
            return experiments.run_together(part.experiments, device=device, progress=progress)
        return experiments.run(part, device=device, progress=progress)
    finally:
        if threads is not None:
            memory.give_back()  # the next step may be that of another process


def _failed(step: Step, error: BaseException, failed: dict[str, str]) -> list[Step]:
    """Report it; and what is to be tried instead: the experiments of a group one by one."""
    reason, instead = f"{type(error).__name__}: {error}", step.apart()
    if instead:
        print(f"{step.key}: {reason}\n{len(instead)} experiments one by one", flush=True)
        return instead
    failed[step.key] = reason
    print(f"FAILED {step.key}: {reason}", file=sys.stderr, flush=True)
    return []


def one_after_another(todo: Sequence[Step], device: str, failed: dict[str, str]) -> None:
    """Carry the steps out here; ``failed`` takes what went wrong, by key."""
    waiting, total, begun = list(todo), len(todo), 0
    while waiting:
        step = waiting.pop(0)
        begun += 1
        print(f"[{begun}/{total}] {step.key}", flush=True)
        try:
            if not step.there():
                step.keep(made(step.left(), device, None))
        except FAILURES as error:
            instead = _failed(step, error, failed)
            waiting[:0], total = instead, total + len(instead)


def spread_over(
    todo: Sequence[Step],
    executor: Executor,
    at_once: int | Callable[[], int],
    device: str,
    threads: int | None,
    ends: float | None,
    failed: dict[str, str],
    estimate: Estimate,
    room: Room | None = None,
) -> None:
    """Keep ``at_once`` steps under way until none is left or the budget is spent.

    Where it is a function, it is asked again as time goes: workers may come and go. An executor
    that takes no more work ends it too: what is left then is not run. What should take longer than
    is left of the budget by the ``estimate``, which learns from what is made, is passed over, and
    named in the end; of a group whose length nothing tells, one goes first and tells it.
    """
    running: dict[Future[Record | list[Record]], Step] = {}
    waiting, total, begun = list(todo), len(todo), set[str]()
    lost: Counter[str] = Counter()
    passed_over: dict[str, tuple[float, str]] = {}  # seconds and key, by the name of the experiment
    most = at_once if callable(at_once) else lambda: at_once
    try:
        while waiting or running:
            while waiting and len(running) < most() and not _over(ends):
                place = _next(waiting, [step.part for step in running.values()], room)
                if place is None:
                    break
                step = waiting.pop(place)
                begun.add(step.key)
                try:
                    if step.there():
                        continue
                    left = step.left()
                except FAILURES as error:  # of what is kept of it
                    instead = _failed(step, error, failed)
                    waiting[:0], total = instead, total + len(instead)
                    continue
                needs = estimate.seconds(step.part) if ends is not None else None
                if ends is not None and needs is None and (instead := step.first_apart()):
                    begun.discard(step.key)
                    waiting[:0], total = instead, total + 1
                    continue
                if needs is not None and _over(ends, needs):
                    instead, experiment = step.apart(), step.whole or step.part
                    waiting[:0], total = instead, total + len(instead)
                    if not instead:
                        passed_over.setdefault(experiment.name, (needs, step.key))
                    continue
                print(f"[{len(begun)}/{total}] {step.key}", flush=True)
                try:
                    running[executor.submit(made, left, device, threads)] = step
                except crew.BrokenExecutor as error:  # as the standard pool once a worker died
                    failed[step.key] = f"{type(error).__name__}: {error}"
                    print("the executor takes no more work: run the sweep again with a new one")
                    return
            if not running:
                if waiting and _over(ends):
                    print("budget spent: records so far are kept")
                break
            limit = None if ends is None else max(0.0, ends - time.monotonic())
            if callable(at_once):
                limit = LOOK_AGAIN if limit is None else min(limit, LOOK_AGAIN)
            done, _ = wait(running, timeout=limit, return_when=FIRST_COMPLETED)
            if not done and not _over(ends):
                continue
            if not done:
                under_way = ", ".join(step.key for step in running.values())
                print(f"budget spent: {under_way} dropped, records so far are kept")
                break
            several = len(running) > 1
            for future in done:
                step = running.pop(future)
                try:
                    found = future.result()
                    step.keep(found)
                    for record in [found] if isinstance(found, Record) else found:
                        estimate.learn(record)
                        if room is not None:
                            room.learn(record)
                except Exception as error:
                    why: BaseException = error
                    if crew.died(error):
                        lost[step.key] += 1
                        if lost[step.key] < ATTEMPTS and room is not None and several:
                            print(f"the worker of {step.key} died: later, alone", flush=True)
                            room.alone(step.part)  # memory may have been short
                            waiting.append(step)
                            continue
                        if lost[step.key] < ATTEMPTS:
                            print(f"the worker of {step.key} died: trying again", flush=True)
                            waiting.insert(0, step)
                            continue
                        why = RuntimeError(f"its worker died {ATTEMPTS} times")
                    elif isinstance(error, MemoryError) and room is not None and several:
                        print(f"{step.key} has too little memory beside others: later, alone")
                        room.alone(step.part)
                        waiting.append(step)
                        continue
                    elif not isinstance(error, FAILURES):
                        raise
                    instead = _failed(step, why, failed)
                    waiting[:0], total = instead, total + len(instead)
    finally:
        for future in running:
            future.cancel()
        if passed_over:
            needs, key = min(passed_over.values())
            also = f" and {len(passed_over) - 1} more" if len(passed_over) > 1 else ""
            print(f"passed over {key}{also}: about {span(needs)} at least, more than was left")


def _over(ends: float | None, needs: float = 0.0) -> bool:
    """Whether a budget that ``ends`` then has less than these seconds left."""
    return ends is not None and time.monotonic() + needs >= ends


def _next(
    waiting: Sequence[Step], under_way: Sequence[Work | Together], room: Room | None
) -> int | None:
    """Place of the first that there is room for beside those under way, if there is one."""
    for place, step in enumerate(waiting):
        if room is None or room.fits(step.part, under_way):
            return place
    return None
