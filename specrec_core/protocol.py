"""Which settings of an experiment are valid, go together and are used: one protocol, one name.

`specrec_core.arguments` has the choices and the checks of single settings, which the training loop
makes too. This module imports no torch.
"""

from __future__ import annotations

import math
from typing import Any

from specrec_core.arguments import (
    COMBINED,
    L2_ON,
    LOSSES,
    NEGATIVES,
    NOISE_KINDS,
    OPTIMIZERS,
    POSITIVES,
    REDUCTIONS,
    TEST_SPLITS,
    between,
    check_candidates,
    check_combination,
    check_debias,
    check_drop,
    check_metric,
    check_model,
    check_regularizer,
    check_transform,
    one_of,
    whole,
)


def check(experiment: Any) -> None:
    """ValueError that names the argument, unless the fields of an `Experiment` agree."""
    e = experiment
    one_of("loss", e.loss, LOSSES)
    one_of("positives", e.positives, POSITIVES)
    one_of("negative_distribution", e.negative_distribution, NEGATIVES)
    one_of("optimizer", e.optimizer, OPTIMIZERS)
    one_of("l2_on", e.l2_on, L2_ON)
    one_of("reduction", e.reduction, REDUCTIONS)
    one_of("test_split", e.test_split, TEST_SPLITS)
    one_of("noise_kind", e.noise_kind, NOISE_KINDS)
    check_model(e)
    check_drop(e.drop, e.drop_ramp, e.loss, e.reduction)
    check_candidates(e.candidates, e.redraw)
    check_regularizer(e)
    check_transform(e, e.loss)
    check_debias(e.debias, e.debias_settings)
    check_combination(e, **{name: getattr(e, name) for name in COMBINED})
    check_metric(e.metric)
    for name in ("dim", "epochs", "batch_size", "evaluate_every", "patience", "negatives"):
        whole(name, getattr(e, name), 1)
    whole("split_seed", e.split_seed, 0)
    between("learning_rate", e.learning_rate, 0.0, math.inf, ends=False)
    between("l2", e.l2, 0.0, math.inf)
    between("init_std", e.init_std, 0.0, math.inf, ends=False)
    between("decay", e.decay, 0.0, math.inf, ends=False)
    between("validation", e.validation, 0.0, 1.0)
    between("noise", e.noise, 0.0, 1.0)
    if not e.seeds or len(set(e.seeds)) != len(e.seeds):
        raise ValueError(f"seeds is {e.seeds}: expected one or more distinct integers")
    _check_used(e)


def _check_used(e: Any) -> None:
    """What would not be used must not give one experiment two names."""
    for name, default, used in (
        ("init_std", 0.1, e.init == "normal"),
        ("l2_on", "tables", e.l2 > 0),
        ("noise_kind", "added", e.noise > 0),
        ("validation", 0.1, e.test_split != "8:1:1"),
        ("split_seed", 0, e.validation > 0 or e.noise > 0),
    ):
        if not used and getattr(e, name) != default:
            raise ValueError(
                f"{name} is {getattr(e, name)!r}, but the other settings make no use of "
                f"it: expected {default!r}"
            )
