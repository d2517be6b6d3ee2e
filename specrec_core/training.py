"""The one training loop: `fit`.

All replicas of a model take each step together, as far as all have one; each has its own
initialisation, its own samples and its own early stop, and a replica that has stopped leaves the
batch. Training R replicas gives what R separate runs with the same seeds give, so how many go
together is a choice of scheduling.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor

from specrec_core import popularity, spectra
from specrec_core.arguments import (
    L2_ON,
    OPTIMIZERS,
    POSITIVES,
    REDUCTIONS,
    between,
    check_candidates,
    check_combination,
    check_drop,
    check_lazy,
    check_metric,
    check_network,
    check_own_data,
    check_transform,
    one_of,
    whole,
)
from specrec_core.chunks import ChunkSteps, user_chunks
from specrec_core.corrections import Debiasing
from specrec_core.evaluation import popularity_groups
from specrec_core.interactions import Interactions
from specrec_core.lanes import Judge, Lanes
from specrec_core.losses import SampleDrop
from specrec_core.models import MF, generator
from specrec_core.objectives import OBJECTIVES
from specrec_core.progress import bar
from specrec_core.ranking import recommend
from specrec_core.regularization import PER_REPLICA, Regularizer
from specrec_core.replicas import Best, carry_state, check_finite, optimizer_of, set_rate
from specrec_core.sampling import EpochSampler, Negatives
from specrec_core.steps import Objective, RowSteps
from specrec_core.strengths import Strength, check, kept, listed, placed

Callback = Callable[[int, MF], Mapping[str, Tensor]]
"""``callback(epoch, model)`` gives named values ``(R,)`` to keep in the history of evaluations."""


@dataclass
class History:
    """What `fit` saw, one list per replica, in the order of the model's seeds."""

    epochs: list[list[int]]
    values: dict[str, list[list[float]]] = field(default_factory=dict)
    best_epoch: list[int] = field(default_factory=list)
    epochs_run: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def table(self) -> pd.DataFrame:
        """Mean over replicas at each epoch, as far as all of them went; one column per series."""
        shortest = min(map(len, self.epochs))
        columns = {
            name: torch.tensor([s[:shortest] for s in series], dtype=torch.float64).mean(0).tolist()
            for name, series in self.values.items()
        }
        return pd.DataFrame(columns, index=pd.Index(self.epochs[0][:shortest], name="epoch"))

    def append(self, epoch: int, replicas: Sequence[int], values: Mapping[str, Tensor]) -> None:
        for r in replicas:
            self.epochs[r].append(epoch)
        for name, tensor in values.items():
            series = self.values.setdefault(name, [[] for _ in self.epochs])
            for r, value in zip(replicas, tensor.tolist(), strict=True):
                series[r].append(value)


def track_spectra(epoch: int, model: MF) -> dict[str, Tensor]:
    """Callback: effective rank of the tables, those of the final embeddings of both sides first."""
    with torch.no_grad():
        return {
            f"effective rank of {name}": spectra.effective_rank(
                spectra.singular_values(table, method="gram")
            )
            for name, table in model.tables().items()
        }


def track_popularity(
    data: Interactions, activation: str, debias: Debiasing, device: torch.device
) -> Callback:
    """Callback: how much of a model is popularity.

    Of the leading direction of the scores, after their activation, ``"cos(q1, r)"`` and ``"energy
    share of sigma1"``; before it ``"share of sigma1 of scores"``, σ₁/Σσ; and ``"share[4]@20"``, the
    share of recommendations that go to the head, the most popular fifth of the training
    interactions.
    """
    counts = torch.as_tensor(data.item_popularity)
    groups = popularity_groups(counts.to(device))
    everybody, seen = torch.arange(data.n_users, device=device), data.csr("train", device)
    correct = debias.on(seen)

    @torch.no_grad()
    def track(epoch: int, model: MF) -> dict[str, Tensor]:
        users, items = model()
        found = popularity.memorisation(users, items, counts, activation=activation)
        lists = recommend(correct.scorer(model), everybody, seen, 20)
        filled = lists >= 0
        head = (groups[lists.clamp_min(0)] == groups.max()) & filled
        return {
            "cos(q1, r)": found["cos(q1, r)"],
            "energy share of sigma1": found["energy share of sigma1"],
            "share of sigma1 of scores": spectra.leading_share(
                spectra.product_singular_values(users, items)
            ),
            "share[4]@20": head.sum((-2, -1)).double() / filled.sum((-2, -1)),
        }

    return track


def fit(
    model: MF,
    data: Interactions | Sequence[Interactions],
    *,
    loss: str = "bpr",
    reduction: str = "mean",
    regularizer: Regularizer | None = None,
    debias: Debiasing | None = None,
    optimizer: str = "adam",
    learning_rate: Strength = 1e-3,
    decay: float = 1.0,
    l2: Strength = 0.0,
    l2_on: str = "tables",
    drop: float = 0.0,
    drop_ramp: int | None = None,
    batch_size: int = 1024,
    drop_last: bool = False,
    epochs: int = 100,
    negatives: int = 1,
    negative_distribution: str = "uniform",
    positives: str = "interactions",
    metric: str = "ndcg@10",
    candidates: int = 0,
    redraw: bool = False,
    evaluate_every: int = 1,
    patience: int = 10,
    select: str = "best",
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
) -> History:
    """Train ``model`` on ``data.train`` and leave each replica at its best validation epoch.

    Each epoch draws every replica's samples at once, on the device of the model; an epoch by
    users (``positives="users"``) draws as many positives as there are training interactions, and
    one by ``user chunks`` takes each interaction once, ``batch_size`` users at a time.
    ``learning_rate``, ``l2`` and the strengths, temperatures and ``shrink`` of the regularizer are
    numbers, or tensors ``(R,)`` with one for each replica. ``data`` may be one for each replica,
    too, such as those with its share of planted noise, for a model without a graph; a replica with
    more of them takes more steps in an epoch. Where rates or numbers of steps differ, Adam or
    descent is one for each replica, on its part of the tables.
    Parameters are those of `specrec_core.records.Experiment`; of the regularizer and of the method
    against popularity bias, together: the latter's own parameters are added to the model. With
    ``select="last"`` there is no validation: replicas run all epochs and keep the last.

    Returns
    -------
    History
        The validation ``metric`` (key ``"validation <metric>"``; with ``select="last"`` that of
        the test split, key ``"test <metric>"``), the mean training loss (key ``"loss"``) and what
        the callbacks gave, at every evaluated epoch; epoch 0 is the initialisation, and its loss
        is NaN. L2 is part of that loss with ``l2_on="rows"`` alone; other penalties always are.

    Raises
    ------
    ValueError
        On an unknown loss, optimizer, metric or sampler, settings that do not go together, or data
        that have no validation pairs to select on, or some and no use.
    FloatingPointError
        As soon as an epoch had a loss that is NaN or infinite; it names replica and step. The
        model is left as after an interrupt: all its replicas, each at its best epoch so far.
    """
    if not isinstance(model, MF):
        raise ValueError(f"model is a {type(model).__name__}: expected an MF, or a class of it")
    one_of("loss", loss, tuple(OBJECTIVES))
    if regularizer is not None and not isinstance(regularizer, Regularizer):
        raise ValueError(f"regularizer is {regularizer!r}: expected a Regularizer of settings")
    one_of("optimizer", optimizer, OPTIMIZERS)
    check_metric(metric)
    counts = {"batch_size": batch_size, "epochs": epochs, "negatives": negatives}
    for name, value in {**counts, "evaluate_every": evaluate_every, "patience": patience}.items():
        whole(name, value, 1)
    check("learning_rate", learning_rate, len(model.seeds), ends=False)
    between("decay", decay, 0.0, math.inf, ends=False)
    check("l2", l2, len(model.seeds))
    learning_rate, l2 = (placed(value, model.users.device) for value in (learning_rate, l2))
    one_of("l2_on", l2_on, L2_ON)
    one_of("reduction", reduction, REDUCTIONS)
    check_drop(drop, drop_ramp, loss, reduction)
    check_candidates(candidates, redraw)
    one_of("positives", positives, POSITIVES)
    one_of("select", select, ("best", "last"))
    split = "validation" if select == "best" else "test"
    lanes = Lanes.of(data, model)
    for _, one in lanes.parts():
        if select == "best" and one.validation.nnz == 0:
            raise ValueError(
                f"data ({one.name}) has no validation interactions to select on: "
                "use data.holdout(0.1, seed=0)"
            )
        if select == "last" and one.validation.nnz:
            raise ValueError(f"data ({one.name}) has validation pairs, of no use to select='last'")
        if drop_last and batch_size > one.train.nnz:
            raise ValueError(f"batch_size is {batch_size}: no batch is full, and drop_last is set")
    if getattr(model, "reduction", reduction) != reduction:
        raise ValueError(f"reduction is {reduction!r}, but that of the model is another")
    device = model.users.device
    trains = {one: one.csr("train", device) for _, one in lanes.parts()}
    train = trains[lanes.each[0]]
    balance = (regularizer or Regularizer()).on(train)
    correct = (debias or Debiasing()).on(train, model.users.dtype)
    for name in PER_REPLICA:
        value = getattr(balance, name)
        if isinstance(value, torch.Tensor):
            check(name, value, len(model.seeds))
    checked = balance.in_numbers()
    check_transform(checked, loss)
    most_l2 = max(listed(l2, len(model.seeds)))
    check_combination(checked, loss, positives, correct.name, most_l2, l2_on, drop_last, drop)
    plain = type(model) is MF and positives != "user chunks" and correct.name == "none"
    check_lazy(optimizer, plain, most_l2, l2_on, balance.regularizer == "spectral_norm")
    if not model.inner_product:
        check_network(checked, loss, positives, correct.name)
    if lanes.several:
        check_own_data(checked, positives, correct.name, drop)
    correct.prepare(model)
    row_l2 = l2 if l2_on == "rows" else 0.0
    dropped = SampleDrop(drop, drop_ramp) if drop and drop_ramp else None
    objective = Objective(loss, balance, correct, reduction, row_l2, dropped)
    epoch_of: RowSteps | ChunkSteps
    if positives == "user chunks":
        drawn = Negatives.by(negative_distribution, train)
        epoch_of = ChunkSteps(user_chunks(train, batch_size), drawn, negatives, objective, l2)
    else:
        count = negatives if OBJECTIVES[loss][1] else 0
        samplers = {
            key: EpochSampler(of_it, positives, count, negative_distribution)
            for key, of_it in trains.items()
        }
        each = [samplers[one] for one in lanes.each]
        sampler = each if lanes.several else each[0]
        epoch_of = RowSteps(sampler, objective, batch_size, drop_last, l2, l2_on)
    judge = Judge(split, metric, candidates, redraw, correct, trains)

    seeds, data_of = model.seeds, lanes.each
    best = Best(model, patience, last=select == "last")
    history = History([[] for _ in seeds], best_epoch=best.epochs, seconds=[0.0] * len(seeds))
    history.epochs_run = [0] * len(seeds)
    active = list(range(len(seeds)))
    streams = [generator(seed, "samples", device) for seed in seeds]
    rate = learning_rate
    if len({one.train.nnz for one in lanes.each}) > 1:  # each has steps of its own
        rate = torch.as_tensor(rate, dtype=torch.float64, device=device).expand(len(seeds))
    stepper = optimizer_of(optimizer, model, rate)

    def look(epoch: int, mean_loss: Tensor) -> None:
        """Evaluate, remember the best, and drop the replicas that are to stop."""
        nonlocal active, streams, stepper, rate, lanes, epoch_of
        score = judge(model, lanes, epoch)
        series = {f"{split} {metric}": score, "loss": mean_loss}
        for callback in callbacks:
            series.update(callback(epoch, model))
        history.append(epoch, active, series)
        for r in active:
            history.epochs_run[r] = epoch
        going = best.see(epoch, active, score.tolist(), model)
        if 0 < len(going) < len(active):
            going_on = torch.tensor(going, device=device)
            model.keep(going_on)
            epoch_of, lanes, before = epoch_of.part(going_on), lanes.part(going_on), stepper
            rate = kept(rate, going_on)
            stepper = optimizer_of(optimizer, model, rate)
            carry_state(before, stepper, going_on)
            streams = [streams[position] for position in going]
        active = [active[position] for position in going]

    started = time.perf_counter()
    look(0, torch.full((len(seeds),), torch.nan))
    title = f"fit {type(model).__name__} d={model.users.shape[-1]}"
    try:
        with bar(range(1, epochs + 1), title, progress) as steps:
            for epoch in steps:
                trained = list(active)
                set_rate(stepper, rate * decay ** (epoch - 1))
                step_losses = epoch_of(model, stepper, streams)
                check_finite(step_losses, model, epoch, rate)
                if epoch % evaluate_every == 0 or epoch == epochs:
                    look(epoch, step_losses.mean(-1))
                    top = max(best.values)
                    steps.set_postfix_str(f"{metric} {top:.4f}, {len(active)} training")
                now = time.perf_counter()
                work = {r: data_of[r].train.nnz for r in trained}
                for r in trained:
                    history.seconds[r] += (now - started) * work[r] / sum(work.values())
                started = now
                if not active:
                    break
    finally:  # of a divergence or an interrupt, too: the best so far
        best.restore(model)
    return history
