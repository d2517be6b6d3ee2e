"""How long things take on one core: an epoch of a training protocol, a spectral norm.

Records say how long their own runs took, but runs share a machine with others. Processor time of
one thread, measured on a few epochs, is what a comparison of methods can use.
"""

from __future__ import annotations

import json
import time
import timeit
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from specrec_core import datasets, running
from specrec_core.building import build
from specrec_core.records import Experiment
from specrec_core.spectral_norm import exact_spectral_norm, spectral_norm_penalty
from specrec_core.studies import Measured
from specrec_core.training import History


def epoch(*, dataset: str, seed: int, progress: bool, epochs: int, protocol: str) -> Measured:
    """Seconds of processor and of the clock for one epoch, evaluation left out, on one thread.

    ``protocol`` is JSON: the fields of an `Experiment` but for data, seeds and budget. Two runs
    evaluate equally often and differ by ``epochs`` epochs; the difference is divided. A run before
    them is not counted: the first of a process also pays for what is loaded once. RuntimeError if
    the longer run took less time.
    """
    settings = json.loads(protocol)
    data = datasets.load(
        dataset,
        validation=settings.get("validation", 0.1),
        seed=settings.get("split_seed", 0),
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        spent = []
        for length in (1 + epochs, 1, 1 + epochs):
            e = Experiment(
                dataset=dataset,
                version=data.version,
                seeds=(seed,),
                epochs=length,
                evaluate_every=length,
                **settings,
            )
            spent.append(_spent(e, data))
    finally:
        torch.set_num_threads(threads)
    cpu, wall = ((after - before) / epochs for before, after in zip(*spent[1:], strict=True))
    if cpu <= 0:
        raise RuntimeError(f"{epochs} more epochs took {cpu * epochs:.3g} s: time it again, alone")
    return Measured({"processor seconds of an epoch": cpu, "seconds of an epoch": wall})


def spectral_norm(
    *, dataset: str, seed: int, progress: bool, users: int, items: int, dim: int, whole: bool
) -> Measured:
    """Processor seconds of one thread for σ₁ of U Vᵀ, of normal tables, in several ways.

    Each alone and with its gradient: one power step [lin2024resn], and by the largest eigenvalue of
    UᵀU VᵀV. Alone: from the factors by QR in double precision, and where ``whole``, by the singular
    values of the matrix of scores. Last the part of σ₁ that the step sees.
    """
    draw = torch.Generator().manual_seed(seed)
    tables = [torch.randn(n, dim, generator=draw, requires_grad=True) for n in (users, items)]

    fixed = [table.detach() for table in tables]

    def with_gradient(norm: Callable[..., Tensor]) -> object:
        return torch.autograd.grad(norm(*tables), tables)

    ways: dict[str, Callable[[], object]] = {
        "one power step": partial(spectral_norm_penalty, *fixed),
        "one power step with gradient": partial(with_gradient, spectral_norm_penalty),
        "factors": partial(exact_spectral_norm, *fixed),
        "Gram": partial(_by_gram, *fixed),
        "Gram with gradient": partial(with_gradient, _by_gram),
    }
    if whole:
        ways["scores"] = lambda: torch.linalg.svdvals(fixed[0] @ fixed[1].mT)
    seen = (spectral_norm_penalty(*fixed) / exact_spectral_norm(*fixed)).sqrt()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = {f"seconds by {name}": _processor_seconds(way) for name, way in ways.items()}
    finally:
        torch.set_num_threads(threads)
    return Measured(seconds | {"one power step over sigma1": seen.item()})


def _by_gram(users: Tensor, items: Tensor) -> Tensor:
    return torch.linalg.eigvals(users.mT @ users @ (items.mT @ items)).real.amax()


def _processor_seconds(work: Callable[[], object]) -> float:
    """Of one call: the smallest of three measurements, each of as many calls as take 0.2 s.

    A single short call may take less than the processor's clock can tell.
    """
    timer = timeit.Timer(work, timer=time.process_time)
    calls, first = timer.autorange()
    return min(first, *timer.repeat(2, calls)) / calls


def _spent(e: Experiment, data: datasets.Interactions) -> tuple[float, float]:
    model = build(e, data, e.seeds, "cpu")
    started = time.process_time(), time.perf_counter()
    history: History = running.train(e, data, model, progress=False)
    assert history.epochs_run[0] == e.epochs
    return time.process_time() - started[0], time.perf_counter() - started[1]
