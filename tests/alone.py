"""Replicas that train together, against runs of each of them by itself."""

import numpy as np
import torch

from specrec_core import synthetic
from specrec_core.contrastive import SGL, XSimGCL
from specrec_core.models import MF, LightGCN
from specrec_core.training import fit


def small_data():
    return synthetic.dcbm(n_users=120, n_items=90, n_communities=3, mean_degree=12.0, seed=1)


def make(kind, data, seeds, device):
    if kind == "lightgcn":
        train = data.csr("train", device)
        return LightGCN(train, 6, layers=2, seeds=seeds, dtype=torch.float64)
    if kind in ("sgl", "xsimgcl"):
        settings = dict(
            contrast_weight=0.3, contrast_temperature=0.5, layers=2, seeds=seeds,
            dtype=torch.float64,
        )  # fmt: skip
        train = data.csr("train", device)
        if kind == "sgl":
            return SGL(train, 6, edge_dropout=0.2, **settings)
        return XSimGCL(train, 6, perturbation=0.1, contrast_layer=1, **settings)
    return MF(data.n_users, data.n_items, 6, seeds=seeds, dtype=torch.float64).to(device)


def assert_as_alone(build, data, seeds, settings, *, uneven=True, rtol=1e-7, atol=1e-9):
    """Every epoch of every replica is that of a run by itself, wherever the others stop.

    ``build(seeds)`` is the untrained model; ``data`` may be a list, one for each replica;
    ``uneven``: replicas are to stop at different epochs; ``rtol`` is that of what the history
    holds, ``atol`` that of the parameters.
    """
    together = build(seeds)
    history = fit(together, data, **settings)
    if uneven:
        assert len(set(history.epochs_run)) > 1, "no replica stopped before another: a weak test"
    of_all = dict(together.named_parameters())
    for r, seed in enumerate(seeds):
        alone = build((seed,))
        own = fit(alone, data[r] if isinstance(data, list) else data, **settings)
        assert own.epochs[0] == history.epochs[r]
        assert own.epochs_run[0] == history.epochs_run[r]
        assert own.best_epoch[0] == history.best_epoch[r]
        for name, series in own.values.items():
            np.testing.assert_allclose(series[0], history.values[name][r], rtol=rtol)
        for name, parameter in alone.named_parameters():
            torch.testing.assert_close(parameter[0], of_all[name][r], rtol=1e-6, atol=atol)


def assert_same_record(one, other):
    """Both say the same of one experiment, numbers to rounding in single precision."""
    for name in ("data", "epochs_run", "selected_epoch", "device", "profile", "versions"):
        assert getattr(one, name) == getattr(other, name)
    for kind in ("metrics", "history", "spectrum"):
        mine, theirs = getattr(one, kind), getattr(other, kind)
        assert mine.keys() == theirs.keys()
        for name, values in theirs.items():
            for got, wanted in zip(mine[name], values, strict=True):
                got, wanted = (np.array(x, dtype=float) for x in (got, wanted))
                np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4, err_msg=name)
