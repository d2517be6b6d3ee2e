"""Every model runs as an experiment, and leaves a record that can be read."""

import numpy as np
import pytest
import torch.nn.functional as F

from specrec_core import catalogue, datasets, experiments, records, running
from specrec_core.building import build, interactions
from specrec_core.evaluation import evaluate
from specrec_core.models import generator
from specrec_core.noise import NoisyInteractions
from specrec_core.records import Experiment
from specrec_core.sampled_evaluation import SampledEvaluation

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


@pytest.mark.parametrize("change", [{}, {"test_split": "8:1:1"}, {"noise": 0.1}])
def test_the_seed_of_the_split_draws_the_split_and_the_noise(change):
    one, again, other = (interactions(experiment(split_seed=s, **change)) for s in (3, 3, 4))
    for part in ("train", "validation", *(["noise"] if change.get("noise") else [])):
        assert (getattr(one, part) != getattr(again, part)).nnz == 0
        assert (getattr(one, part) != getattr(other, part)).nnz > 0, part


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


def test_a_record_says_how_its_model_does_in_the_test():
    """At the epoch that validation chose, among items of neither train nor validation."""
    e = experiment(loss="alignment", learning_rate=0.05, epochs=8, candidates=20, seeds=(3, 1))
    found = experiments.run(e, together=2, progress=False)
    data = interactions(e)
    model = build(e, data, e.seeds, "cpu")
    running.train(e, data, model, progress=False)
    truth, seen = data.csr("test"), data.csr("train+validation")
    tables = [table.detach() for table in model()]
    angles = [F.normalize(table, dim=-1) for table in tables]
    draws = [generator(seed, "candidates test") for seed in e.seeds]
    among = SampledEvaluation(truth, seen, 20)
    for name, expected in {
        "{}": evaluate(lambda ids: tables[0][:, ids] @ tables[1].mT, truth, seen).mean,
        "{}, by cosine": evaluate(lambda ids: angles[0][:, ids] @ angles[1].mT, truth, seen).mean,
        "ndcg[uni20]@10": among.evaluate(model.scorer(), draws).mean,
    }.items():
        values = found.metrics[name.format("ndcg@10")]
        assert values == pytest.approx(expected["ndcg@10"].tolist(), rel=1e-6), name
    series = found.history["validation ndcg@10"]
    assert found.metrics["validation ndcg@10"] == [max(values) for values in series]
    assert all(max(values) > values[-1] for values in series)
