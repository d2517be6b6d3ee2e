"""From an experiment to what is trained: its data and its untrained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from specrec_core import datasets, noise, splitting
from specrec_core.contrastive import SGL, XSimGCL
from specrec_core.exposure import equal_exposure
from specrec_core.interactions import Interactions
from specrec_core.models import MF, LightGCN
from specrec_core.neural import MultiLightGCN, MultiMF, NeuMF
from specrec_core.records import Experiment
from specrec_core.strengths import Strength


def interactions(experiment: Experiment) -> Interactions:
    """The data of an experiment: loaded, split, and with the noise that is to be planted.

    ValueError if those at hand are not of the version that the experiment names.
    """
    e = experiment
    data = datasets.load(e.dataset, validation=0.0)
    if data.version != e.version:
        raise ValueError(
            f"experiment wants {e.dataset} {e.version!r}, but the data at hand "
            f"is {data.version!r}: define the experiment anew for this version"
        )
    if e.test_split == "8:1:1":
        data = splitting.eight_one_one(data, e.split_seed)
    else:
        if e.test_split == "equal exposure":
            data = equal_exposure(data, 0)
        data = data.holdout(e.validation, e.split_seed)
    if e.noise:
        data = noise.plant(data, e.noise, kind=e.noise_kind, seed=e.split_seed)
    return data


def build(
    experiment: Experiment,
    data: Interactions,
    seeds: Sequence[int],
    device: Any,
    varied: Mapping[str, Strength] | None = None,
) -> MF:
    """The untrained model of an experiment, one replica per seed.

    What is ``varied`` takes the place of the experiment's own settings.
    """
    e, varied = experiment, varied or {}
    tables: dict[str, Any] = {"seeds": seeds, "init": e.init, "init_std": e.init_std}
    sets: dict[str, Any] = {"sets": e.sets, "width": e.width}
    if e.layers == 0:
        n_users, n_items = data.n_users, data.n_items
        if e.model == "neumf":
            perceptron: dict[str, Any] = {"hidden": e.hidden, "dropout": e.dropout}
            return NeuMF(n_users, n_items, e.dim, **perceptron, **tables).to(device)
        if e.model == "multi_mf":
            return MultiMF(n_users, n_items, e.dim, **sets, **tables).to(device)
        return MF(n_users, n_items, e.dim, **tables).to(device)
    graph = data.csr("train", device)
    tables |= {"layers": e.layers, "propagation": e.propagation}
    contrast: dict[str, Any] = {
        "contrast_weight": varied.get("contrast_weight", e.contrast_weight),
        "contrast_temperature": varied.get("contrast_temperature", e.contrast_temperature),
        "reduction": e.reduction,
    }
    if e.model == "sgl":
        assert e.edge_dropout is not None
        return SGL(graph, e.dim, edge_dropout=e.edge_dropout, **contrast, **tables)
    if e.model == "xsimgcl":
        assert e.perturbation is not None and e.contrast_layer is not None
        layer = e.contrast_layer
        return XSimGCL(graph, e.dim, perturbation=e.perturbation, contrast_layer=layer,
                       variant=e.variant, **contrast, **tables)  # fmt: skip
    if e.model == "multi_lightgcn":
        return MultiLightGCN(graph, e.dim, **sets, **tables)
    return LightGCN(graph, e.dim, **tables)
