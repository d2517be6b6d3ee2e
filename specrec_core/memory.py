"""What a run will need of memory, worked out before it starts; and keeping what was freed.

Counted is what grows with the data, the dimension and the replicas: tables and their gradients, the
state of the optimiser, the best tables so far, what a training step forms, and a chunk of the
evaluation. An estimate from above of the large parts; small ones and what the libraries take
themselves are left to a margin.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from specrec_core.arguments import GRAPH_MODELS, NETWORK_MODELS
from specrec_core.neural import CELLS_ON_CPU, CELLS_ON_GPU
from specrec_core.ranking import CHUNK_ON_CPU, CHUNK_ON_GPU
from specrec_core.records import Experiment

FLOAT, INTEGER = 4, 8
# Tables that an optimiser keeps.
KEPT = {"adam": 2, "adamw": 2, "lazy_adam": 2, "momentum": 1, "sgd": 0}
OVERHEAD = 300 * 2**20  # of what the libraries allocate themselves
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # as malloc.h has them


def keep_freed() -> bool:
    """Have the C library hold on to the memory that this process frees; True if it takes it in.

    glibc maps each block of more than 32 MiB anew and unmaps it when freed, and the kernel has to
    clear every page of it again: with wide tables on a CPU, most of the time of a step. Afterwards
    blocks of up to 2 GiB are taken from what was freed before, and the process stays as large as
    it ever was, until `give_back`. No result changes. Threads other than the main one, older
    versions of glibc and other libraries gain nothing.
    """
    mallopt = _of_c_library("mallopt")
    return mallopt is not None and all(
        mallopt(option, value) == 1
        for option, value in ((M_MMAP_THRESHOLD, 2**31 - 1), (M_TRIM_THRESHOLD, -1))
    )


def give_back() -> None:
    """Return to the system what was freed and kept, for other processes and for `check`."""
    trim = _of_c_library("malloc_trim")
    if trim is not None:
        trim(0)


def _of_c_library(name: str) -> Any:
    """The function of that name, or None."""
    return getattr(ctypes.CDLL(None), name, None) if os.name == "posix" else None


def needed(
    experiment: Experiment,
    statistics: Mapping[str, Any],
    *,
    replicas: int | None = None,
    device: str = "cpu",
) -> dict[str, int]:
    """Bytes by purpose, and their ``total``, for replicas that train at once.

    ``statistics`` are those of the data (`Interactions.statistics`): ``users``, ``items``,
    ``train``, ``test`` and ``validation``. ``replicas`` is the number of seeds unless given.
    """
    e, count = experiment, len(experiment.seeds) if replicas is None else replicas
    users, items, train = (int(statistics[key]) for key in ("users", "items", "train"))
    columns = e.dim * (2 if e.model == "neumf" else e.sets or 1)
    table = (users + items) * columns * FLOAT  # of one replica
    edges = 2 * train * (FLOAT + 4)
    batch = min(e.batch_size, train)
    chunk = 0
    if e.positives == "user chunks":  # all pairs of the users, and their scores of all items
        chunk = min(e.batch_size, users)
        batch = min(train, round(chunk * train / max(1, users)))
    pairs = batch * (1 + e.negatives)
    graph = e.model in GRAPH_MODELS

    # Rows of a batch, their gradients, and products of them.
    step = 4 * (batch + pairs) * columns * FLOAT + 6 * chunk * items * FLOAT
    if graph:  # the propagated table, its gradient, and what each layer keeps
        step += (3 + e.layers) * table
    if e.model == "sgl":
        step += 2 * (2 + e.layers) * table + 4 * batch * (users + items) * FLOAT
    if e.model == "xsimgcl":
        step += (2 + 3 * e.layers) * table + 8 * batch * batch * FLOAT
    if e.model == "neumf":  # inputs, masks and outputs of each layer, forward and back
        step += 6 * pairs * (2 * e.dim + sum(e.hidden)) * FLOAT
    elif e.sets:
        step += 6 * pairs * e.sets * (e.width + e.dim) * FLOAT
    if e.regularizer == "directspec+" or e.regularizer == "uniformity":
        step += 6 * batch * batch * FLOAT
    cuda = device.startswith("cuda")
    # Of the chunk of users, all items: scores, a copy, and a place for the order.
    scores = max(CHUNK_ON_GPU if cuda else CHUNK_ON_CPU, count * items)
    evaluation = 4 * scores * FLOAT + (count * table if graph else 0)
    if e.model in NETWORK_MODELS:
        evaluation += 3 * max(CELLS_ON_GPU if cuda else CELLS_ON_CPU, count * items) * FLOAT
    tested = max(int(statistics["test"]), int(statistics["validation"]))
    evaluation += 4 * tested * e.candidates * INTEGER + count * 2 * tested * e.candidates * INTEGER
    parts = {
        "tables": count * table,
        "gradients": count * table * (2 if graph else 1),
        "optimiser": count * table * KEPT[e.optimizer],
        "best so far": count * table,
        "samples": count * train * (2 + e.negatives) * INTEGER * 2,
        "graph": edges * (1 + 2 * count * (e.model == "sgl")) if graph else 0,
        "step": count * step,
        "evaluation": evaluation,
        # Singular values: a table of each side in double precision, and the work of its SVD.
        "spectra": 3 * count * (users + items) * columns * 8
        + 4 * count * min(max(users, items), columns) ** 2 * 8,
    }
    # Step, evaluation and spectra follow one another.
    passing = max(parts[name] for name in ("step", "evaluation", "spectra"))
    lasting = sum(parts[name] for name in parts if name not in ("step", "evaluation", "spectra"))
    return {**parts, "total": lasting + passing + OVERHEAD}


def available(device: torch.device) -> int:
    """Bytes that are free on a device: of a GPU, or of this machine (else, all that it has)."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        import psutil

        return int(psutil.virtual_memory().available)
    except ImportError:
        pass
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def check(
    experiment: Experiment, statistics: Mapping[str, Any], device: torch.device, replicas: int
) -> None:
    """MemoryError, with the numbers, unless the run fits into what is free on the device."""
    parts = needed(experiment, statistics, replicas=replicas, device=device.type)
    give_back()  # what runs before this one have left is free, too
    free = available(device)
    if parts["total"] > free:
        largest = sorted((size, name) for name, size in parts.items() if name != "total")[-3:]
        named = ", ".join(f"{name} {_size(size)}" for size, name in reversed(largest))
        together = f" with {replicas} replicas together" if replicas > 1 else ""
        raise MemoryError(
            f"a run of {experiment.name} (model {experiment.model}, dim {experiment.dim}) needs "
            f"about {_size(parts['total'])}{together} on {device}, and {_size(free)} are free "
            f"({named}): take a smaller dim or batch_size, fewer replicas at once, or a larger "
            "machine"
        )


def _size(number: int) -> str:
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"
