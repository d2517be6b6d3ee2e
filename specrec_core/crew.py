"""Where the steps of a sweep run: in processes of this machine, or on many machines through Dask.

Any `concurrent.futures.Executor` will do for `specrec_core.sweep.sweep`. The two here are what a
command line can name; one for processes is of our own because of what happens when a process dies
(of too little memory, say): a `ProcessPoolExecutor` then gives up everything under way in it, and
for good.

This module imports no torch.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
# What the libraries under torch, numpy and scipy read when they are loaded.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


CGROUP = Path("/sys/fs/cgroup")  # in a container: its own limits (version 2)


def cores() -> int:
    """Cores that this process may use, by its affinity and by the quota of its container."""
    affine = hasattr(os, "sched_getaffinity")
    there = len(os.sched_getaffinity(0)) if affine else os.cpu_count() or 1
    try:
        quota, period = (CGROUP / "cpu.max").read_text().split()
        return min(there, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no container, or "max": no quota
        return there


class Processes(Executor):
    """``workers`` processes, each on its own: one that dies takes only its own task with it.

    A task submitted beyond as many as there are workers waits behind the others of its process.
    Processes end with the one that made them, even if that is killed. With ``threads`` each has
    so many for its arithmetic, and else as many as there are cores.
    """

    def __init__(self, workers: int, threads: int | None = None) -> None:
        self._environment = {} if threads is None else dict.fromkeys(THREADS, str(threads))
        self._pools = [_process() for _ in range(workers)]
        self._under_way: list[set[Future[Any]]] = [set() for _ in range(workers)]

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        load = [sum(not future.done() for future in futures) for futures in self._under_way]
        free = load.index(min(load))
        with _environment(self._environment):  # a process is started by its first task
            try:
                future = self._pools[free].submit(fn, *args, **kwargs)
            except BrokenExecutor:
                self._pools[free] = _process()
                future = self._pools[free].submit(fn, *args, **kwargs)
        self._under_way[free] = {f for f in self._under_way[free] if not f.done()} | {future}
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """With ``cancel_futures``, what is under way is dropped too: its process is ended."""
        for pool, futures in zip(self._pools, self._under_way, strict=True):
            if cancel_futures and any(future.running() for future in futures):
                for process in list((pool._processes or {}).values()):
                    process.terminate()
            pool.shutdown(wait, cancel_futures=cancel_futures)


@contextlib.contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the processes started meanwhile."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _process() -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=_die_with_parent)


def _die_with_parent() -> None:
    """End this worker when the process that started it is gone, killed or not."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def dask(address: str) -> tuple[Executor, Callable[[], int]]:
    """The executor of a Dask scheduler, and what counts the tasks that its workers take at once.

    Each worker needs this library and the data, found as everywhere (``SPECREC_DATA``, or
    downloaded); it needs no folder in common with the sweep, which writes the records itself.
    A step whose worker dies is tried on others by the scheduler.

    Raises
    ------
    ImportError
        If ``distributed`` is not installed.
    OSError
        If no scheduler answers at ``address``, or it has no worker within a minute.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError(
            "a sweep over machines needs Dask: pip install distributed, here and there"
        ) from error
    client = Client(address, timeout=60)
    try:
        client.wait_for_workers(1, timeout=60)
    except TimeoutError as error:
        raise OSError(
            f"{address} has no worker: start one with `dask worker {address} --nthreads 1`"
        ) from error
    return client.get_executor(pure=False), lambda: max(1, sum(client.nthreads().values()))


def died(error: BaseException) -> bool:
    """Whether the worker died, so that the step deserves another: not an error of its own."""
    return isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker"
