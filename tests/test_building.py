"""Every model runs as an experiment, and leaves a record that can be read."""

import numpy as np
import pytest

from specrec_core import catalogue, datasets, experiments, records
from specrec_core.building import build, interactions
from specrec_core.noise import NoisyInteractions
from specrec_core.records import Experiment

CONTRAST = dict(layers=2, contrast_weight=0.05, contrast_temperature=0.5)
MODELS = {
    "neumf": dict(hidden=(8, 4), loss="bce_mean", init_std=0.01),
    "sgl": dict(edge_dropout=0.1, l2=1e-5, l2_on="norms", reduction="sum", init="xavier_sides",
                **CONTRAST),
    "xsimgcl": dict(perturbation=0.1, contrast_layer=1, **CONTRAST),
    "multi_mf": dict(sets=2, width=8),
    "multi_lightgcn": dict(sets=2, width=8, layers=2),
}  # fmt: skip


def experiment(**changes):
    settings = dict(dataset="synthetic", version=catalogue.SYNTHETIC, dim=4, epochs=1, seeds=(0, 1))
    return Experiment(**{**settings, **changes})


@pytest.mark.parametrize("model", list(MODELS))
def test_every_model_leaves_a_record(model, tmp_path):
    e = experiment(model=model, test_split="8:1:1", candidates=20, noise=0.1, **MODELS[model])
    record = experiments.run(e, progress=False)
    assert records.read(record.save(tmp_path)).metrics == record.metrics
    assert all(len(values) == 2 for values in record.metrics.values())
    for metric in ("ndcg@20", "ndcg[uni20]@20", "hit[uni20]@10", "effective rank of items"):
        assert all(np.isfinite(record.metrics[metric])), metric
    assert min(record.metrics["ndcg[uni20]@20"]) > max(record.metrics["ndcg@20"])
    inner = model in ("sgl", "xsimgcl")
    assert ("alignment with popularity" in record.metrics) == inner
    assert ("scores" in record.spectrum) == inner
    if model == "neumf":
        assert len(record.spectrum["mlp users"][0]) == len(record.spectrum["users"][0]) == 4
    if model.startswith("multi"):
        assert len(record.spectrum["users"][0]) == 8
        assert len(record.spectrum["users, set 2"][0]) == 4
        assert max(record.metrics["information abundance of users, set 1"]) <= 4


def test_the_data_of_an_experiment_are_split_and_planted():
    data = interactions(experiment(test_split="8:1:1", noise=0.25, split_seed=3))
    assert isinstance(data, NoisyInteractions)
    assert data.version == f"{catalogue.SYNTHETIC}, split 8:1:1, 0.25 of train noise, added"
    assert data.noise.nnz == int(0.25 * (data.train.nnz - data.noise.nnz))
    plain = interactions(experiment())
    assert data.test.nnz < plain.test.nnz  # a tenth, and not a fifth
    with pytest.raises(ValueError, match="experiment wants"):
        interactions(experiment(version="another"))


def test_validation_is_carved_after_the_test_split():
    even = interactions(experiment(test_split="equal exposure", noise=0.1))
    assert even.version.endswith("seed 0, 0.1 of train noise, added")
    assert even.validation.nnz > 0
    plain, loaded = interactions(experiment()), datasets.load("synthetic", validation=0.1, seed=0)
    for split in ("train", "validation", "test"):
        assert (getattr(plain, split) != getattr(loaded, split)).nnz == 0


def test_models_are_built_as_their_settings_say():
    e = experiment(model="xsimgcl", variant="official", **MODELS["xsimgcl"])
    model = build(e, interactions(e), (5,), "cpu")
    assert (model.variant, model.perturbation, model.contrast_layer) == ("official", 0.1, 1)
    assert model.seeds == (5,) and model.reduction == "mean"
