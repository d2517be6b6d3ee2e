"""What a run will need of memory, worked out before it starts; and keeping what was freed.

Counted is what grows with the data, the dimension and the replicas: interactions on the device, the
sampler and its samples, tables and their gradients, the state of the optimiser, the best tables so
far, what a training step forms, and a chunk of the evaluation. An estimate from above of what a run
takes beside the data as they were loaded; small parts and what the libraries take themselves are
left to a margin. Per interaction, the samples of an epoch need most.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from specrec_core.arguments import GRAPH_MODELS, NETWORK_MODELS, check_metric, of_all_scores
from specrec_core.chunks import DENSE
from specrec_core.cooccurrence import PAIRS
from specrec_core.crew import CGROUP
from specrec_core.neural import CELLS_ON_CPU, CELLS_ON_GPU
from specrec_core.objectives import OBJECTIVES
from specrec_core.popularity import BLOCK_ELEMENTS, KEPT_ELEMENTS
from specrec_core.progress import say
from specrec_core.ranking import CHUNK_ON_CPU, CHUNK_ON_GPU, FIRST
from specrec_core.records import Experiment
from specrec_core.sampling import BLOCK, TABLE

FLOAT, INTEGER = 4, 8
LISTED = 20  # items that a test lists for each user
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
    datasets: int = 1,
) -> dict[str, int]:
    """Bytes by purpose, and their ``total``, for replicas that train at once.

    ``statistics`` are those of the data (`Interactions.statistics`): ``users``, ``items``,
    ``train``, ``test`` and ``validation``. ``replicas`` is the number of seeds unless given. Where
    replicas have data of their own, these are the largest of so many ``datasets``.

    Sampling, steps (while the samples are there) and evaluation follow one another: of these the
    largest is in the total. If it is more, what building, test or spectra need, before and after
    training, takes the place of all that training holds. On a CPU either is so twice: much of the
    memory that the C library holds lies in holes that fit nothing that comes later. Runs on
    millions of interactions were measured to take up to twice what lived at once.
    """
    e, count = experiment, len(experiment.seeds) if replicas is None else replicas
    users, items, train = (int(statistics[key]) for key in ("users", "items", "train"))
    cuda, graph = device.startswith("cuda"), e.model in GRAPH_MODELS
    columns = e.dim * (2 if e.model == "neumf" else e.sets or 1)
    table = (users + items) * columns * FLOAT  # of one replica
    by_chunk = e.positives == "user chunks"
    copies = 1 + (by_chunk or e.model == "sgl")
    # Ids of the neighbours and weights, both ways, and the users' ids once more.
    edges = 2 * train * (4 + FLOAT) + train * 4
    views = 2 * count * edges if e.model == "sgl" else 0
    parts = {
        "interactions": datasets * (copies * train + _tested(statistics) + 2 * users) * INTEGER,
        "tables": count * table,
        "gradients": count * table * (2 if graph else 1),
        "optimiser": count * table * KEPT[e.optimizer],
        "best so far": count * table,
        "graph": edges + views if graph else 0,
        # Sixteen numbers for each interaction, of one graph or of those of all replicas; and views
        # that are made before the last ones go.
        "building": 16 * INTEGER * train * max(1, count * bool(views)) + views if graph else 0,
        **_sampling(e, users, items, train, count, datasets, cuda),
        "step": _step(e, users, items, train, count, table),
        "evaluation": _evaluation(e, statistics, count, table, cuda),
        # Test leaves out train and validation together: their sum, and copies in the making.
        "joining": 4 * (train + int(statistics["validation"])) * INTEGER,
        # Singular values: a table of each side in double precision, and the work of its SVD.
        "spectra": 3 * count * (users + items) * columns * 8
        + 4 * count * min(max(users, items), columns) ** 2 * 8,
    }
    lasting = sum(parts[name] for name in ("interactions", "tables", "graph"))
    training = sum(parts[name] for name in ("gradients", "optimiser", "best so far", "sampler"))
    holes = 1 if cuda else 2
    trained = max(parts["sampling"], parts["samples"] + parts["step"], parts["evaluation"])
    apart = max(parts["building"], parts["evaluation"] + parts["joining"], parts["spectra"])
    total = lasting + max(training + holes * trained, holes * apart) + OVERHEAD
    return {**parts, "total": total}


def _tested(statistics: Mapping[str, Any]) -> int:
    """Pairs of the larger of the two splits that are predicted."""
    return max(int(statistics["test"]), int(statistics["validation"]))


def _sampling(
    e: Experiment, users: int, items: int, train: int, count: int, datasets: int, cuda: bool
) -> dict[str, int]:
    """The ``sampler``, the ``samples`` that it leaves, and ``sampling``: what making them forms."""
    by_chunk = e.positives == "user chunks"
    negatives = e.negatives if by_chunk or OBJECTIVES[e.loss][1] else 0
    listed = users * items if users * items <= TABLE else 0
    kept, making = (0 if by_chunk else train * INTEGER), 0  # users of interactions
    if negatives:  # user, key and what is skipped of interactions; and perhaps all unseen items
        kept = (3 * train + 3 * users + 2 * items + listed) * INTEGER
        making = (2 * train + 2 * listed) * INTEGER + listed
    sampler = datasets * kept * (2 if e.candidates else 1)  # that of the evaluation is another
    if by_chunk:
        return {"sampler": sampler, "samples": 2 * train * INTEGER, "sampling": making}
    of_replica = train * (2 + negatives) * INTEGER
    # The order, and what negatives are drawn by, in two orders, or the samples; before, on CUDA
    # what sorts the order, and by users what draws a positive. Of a block of negatives user, bound,
    # rank, query, positives passed and weight.
    by_users = e.positives == "users"
    drawing = train * max(6 if cuda else 5 * by_users, 1 + 2 * negatives, 3 + negatives)
    drawing += 2 * users * by_users + 6 * min(BLOCK, train * negatives)
    return {
        "sampler": sampler,
        "samples": (2 * count if count > 1 else 1) * of_replica,  # of several, and stacked
        "sampling": max(making, (count - 1) * of_replica + drawing * INTEGER),
    }


def _step(e: Experiment, users: int, items: int, train: int, count: int, table: int) -> int:
    columns = table // ((users + items) * FLOAT)
    batch = min(e.batch_size, train)
    chunk = 0
    if e.positives == "user chunks":  # all pairs of the users
        chunk = min(e.batch_size, users)
        batch = min(train, round(chunk * train / max(1, users)))
    pairs = batch * (1 + e.negatives)
    # Rows of a batch, their gradients, and products of them; as the first step of an epoch ends,
    # the gradients of the one before go.
    if chunk:  # scores and where from; negatives, and what drawing them forms
        step = table + 6 * (batch + pairs) * (FLOAT + INTEGER) + 10 * batch * e.negatives * INTEGER
        if of_all_scores(e) or DENSE * pairs > chunk * items:
            step += 6 * chunk * items * FLOAT
        else:  # rows of the users, and the pairs item by item
            step += 2 * chunk * columns * FLOAT + 5 * pairs * INTEGER
    else:
        step = 4 * (batch + pairs) * columns * FLOAT + table
    if e.model in GRAPH_MODELS:  # the propagated table, its gradient, and what each layer keeps
        step += (3 + e.layers) * table
    if e.model == "sgl":
        step += 2 * (2 + e.layers) * table + 2 * batch * (users + items) * FLOAT
    if e.model == "xsimgcl":
        step += (2 + 3 * e.layers) * table + 3 * min(batch, max(users, items)) ** 2 * FLOAT
    if e.model == "neumf":  # inputs, masks and outputs of each layer, forward and back
        step += 6 * pairs * (2 * e.dim + sum(e.hidden)) * FLOAT
    elif e.sets:
        step += 6 * pairs * e.sets * (e.width + e.dim) * FLOAT
    if e.regularizer in ("directspec+", "uniformity", "spectral_contrastive"):
        step += 6 * batch * batch * FLOAT
    if e.debias == "invcf":  # distances of both embeddings, of users and of items
        step += 18 * batch * batch * FLOAT
    if e.debias == "ipl":  # of all training pairs
        step += 40 * train
    if e.temperature_unrelated is None:
        return count * step
    # What the rows of a batch have to do with columns, which is more where there are more of them;
    # and pairs of that, of all replicas.
    step += 45 * batch * train // min(users, items) * INTEGER
    return count * step + 6 * PAIRS * INTEGER


def _evaluation(
    e: Experiment, statistics: Mapping[str, Any], count: int, table: int, cuda: bool
) -> int:
    users, items, train = (int(statistics[key]) for key in ("users", "items", "train"))
    tested = _tested(statistics)
    by_chunk = e.positives == "user chunks"
    ranked = users if by_chunk else min(users, tested)  # popularity is looked at for all users
    budget = (CHUNK_ON_GPU if cuda else CHUNK_ON_CPU) // min(count, FIRST)
    rows = min(ranked, max(1, budget // items))
    # Of the chunk of users, all items: scores, those of the chunk before, and a place for the
    # order; and what they have seen, to leave it out.
    size = 4 * count * rows * items * FLOAT + (8 + count) * (train * rows // users) * INTEGER
    # The lists of all users, nine numbers for each place; means; and the pairs that are looked up.
    length = max(LISTED, check_metric(e.metric))
    size += (count * ranked * (9 * length + 32) + 8 * tested) * INTEGER
    if e.model in GRAPH_MODELS:  # propagated for evaluation
        size += 3 * count * table
    if e.model in NETWORK_MODELS:
        cells = count * items * (max(e.hidden) if e.model == "neumf" else e.width)
        size += 3 * max(CELLS_ON_GPU if cuda else CELLS_ON_CPU, cells) * FLOAT
    if by_chunk:  # the leading direction of what a sigmoid makes of all scores
        size += (min(users * items, KEPT_ELEMENTS) + 3 * BLOCK_ELEMENTS) * FLOAT
    return size + (4 + 2 * count) * tested * e.candidates * INTEGER


def available(device: torch.device) -> int:
    """Bytes that are free on a device: of a GPU, or of this machine and the container in it."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held  # what torch keeps of what was freed
    return min(_of_machine(), _of_container())


def _of_container() -> int:
    """What the limit of a container leaves; files that it has read and could drop count as free."""
    try:
        most, used = (int((CGROUP / f"memory.{x}").read_text()) for x in ("max", "current"))
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no container, or "max": no limit
        return sys.maxsize
    return most - used + int(stat.get("inactive_file", 0))


def _of_machine() -> int:
    """What is free of the memory of this machine; all that it has, where that is not known."""
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


def fitting(
    experiment: Experiment,
    statistics: Mapping[str, Any],
    device: torch.device,
    most: int,
    datasets: int = 1,
) -> int:
    """How many replicas, from 1 up to ``most``, a run of them may train at once in what is free."""
    free, kind = available(device), device.type

    def fits(n: int) -> bool:
        of_n = needed(experiment, statistics, replicas=n, device=kind, datasets=min(n, datasets))
        return of_n["total"] <= free

    return next(n for n in range(most, 0, -1) if n == 1 or fits(n))


def check(
    experiment: Experiment,
    statistics: Mapping[str, Any],
    device: torch.device,
    replicas: int,
    show: bool = False,
    datasets: int = 1,
) -> None:
    """MemoryError, with the numbers, unless the run fits into what is free on the device.

    With ``show`` the numbers are stated, as progress is, where it does fit.
    """
    parts = needed(experiment, statistics, replicas=replicas, device=device.type, datasets=datasets)
    give_back()  # what runs before this one have left is free, too
    free = available(device)
    together = f" with {replicas} replicas together" if replicas > 1 else ""
    stated = (
        f"a run of {experiment.name} (model {experiment.model}, dim {experiment.dim}) needs "
        f"about {_size(parts['total'])}{together} on {device}, and {_size(free)} are free"
    )
    if parts["total"] > free:
        largest = sorted((size, name) for name, size in parts.items() if name != "total")[-3:]
        named = ", ".join(f"{name} {_size(size)}" for size, name in reversed(largest))
        raise MemoryError(
            f"{stated} ({named}): take a smaller dim or batch_size, fewer replicas at once, or a "
            "larger machine"
        )
    say(stated, show)


def _size(number: int) -> str:
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"
