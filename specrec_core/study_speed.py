"""How long an epoch takes: the speed of a training protocol on one core, apart from its records.

Records say how long their own runs took, but runs share a machine with others. Processor time of
one thread, measured on a few epochs, is what a comparison of methods can use.
"""

from __future__ import annotations

import json
import time

import torch

from specrec_core import datasets, experiments
from specrec_core.building import build
from specrec_core.records import Experiment
from specrec_core.studies import Measured
from specrec_core.training import History


def epoch(*, dataset: str, seed: int, progress: bool, epochs: int, protocol: str) -> Measured:
    """Seconds of processor and of the clock for one epoch, evaluation left out, on one thread.

    ``protocol`` is JSON: the fields of an `Experiment` but for data, seeds and budget. Two runs
    evaluate equally often and differ by ``epochs`` epochs; the difference is divided.
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
        for length in (1, 1 + epochs):
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
    cpu, wall = ((after - before) / epochs for before, after in zip(*spent, strict=True))
    return Measured({"processor seconds of an epoch": cpu, "seconds of an epoch": wall})


def _spent(e: Experiment, data: datasets.Interactions) -> tuple[float, float]:
    model = build(e, data, e.seeds, "cpu")
    started = time.process_time(), time.perf_counter()
    history: History = experiments.train(e, data, model, progress=False)
    assert history.epochs_run[0] == e.epochs
    return time.process_time() - started[0], time.perf_counter() - started[1]
