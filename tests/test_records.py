"""Experiments are named by what they are; records are whole or absent."""

import errno
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from specrec_core import json_files, records
from specrec_core.records import Experiment, Record, provenance


def experiment(**changes) -> Experiment:
    fields = dict(dataset="toy", version="1", dim=8, epochs=3, seeds=(0, 1))
    return Experiment(**{**fields, **changes})


def record(e: Experiment) -> Record:
    return Record(
        experiment=e,
        metrics={"ndcg@10": [0.1, 0.2]},
        selected_epoch=[2, 3],
        epochs_run=[3, 3],
        history={"epoch": [[0, 1], [0, 1]], "loss": [[None, 0.5], [None, 0.6]]},
        spectrum={"users": [[2.0, 1.0], [2.0, 0.5]]},
        seconds=[0.1, 0.2],
        device="cpu",
        profile="paper",
        versions={"torch": "2"},
        data={"train": 10},
    )


def test_the_name_depends_on_every_field_and_on_nothing_else():
    assert experiment().name == experiment().name
    assert experiment().name == experiment(l2=0.0).name  # a default, written out
    assert experiment().name == experiment(seeds=[0, 1]).name
    others = dict(
        dataset="b", version="2", dim=9, epochs=4, seeds=(0,), loss="bce", negatives=2,
        negative_distribution="popularity", positives="users", optimizer="sgd",
        learning_rate=0.1, l2=0.1, init_std=0.2, batch_size=9, evaluate_every=2, patience=3,
        metric="recall@10", validation=0.2, split_seed=1, decay=0.99, init="xavier",
        drop_last=True, normalised=True,
    )  # fmt: skip
    names = {experiment(**{k: v}).name for k, v in others.items()} | {experiment().name}
    assert len(names) == len(others) + 1


def test_the_name_depends_on_every_setting_of_a_regularizer():
    balanced = dict(
        loss="logistic_alignment", regularizer="directspec+", strength=1.0, temperature=3.0,
        l2=0.1, shrink=0.1,
    )  # fmt: skip
    others = dict(
        strength=0.5, temperature=2.0, temperature_unrelated=4.0, self_similarity=False,
        shrink=0.2, shrink_variant="unit", l2_on="rows", loss="alignment",
    )  # fmt: skip
    names = {experiment(**balanced, **{}).name}
    names |= {experiment(**{**balanced, k: v}).name for k, v in others.items()}
    gcn = dict(model="lightgcn", layers=2)
    names |= {experiment(**gcn).name, experiment(**gcn, propagation="sum").name}
    assert len(names) == len(others) + 3


def test_equal_values_have_one_name():
    assert experiment(learning_rate=1).name == experiment(learning_rate=1.0).name
    assert experiment(l2=0).name == experiment().name
    of_numpy = experiment(dim=np.int64(9), drop=0.2, drop_ramp=np.int32(50))
    assert of_numpy.name == experiment(dim=9, drop=0.2, drop_ramp=50).name
    assert type(of_numpy.dim) is int and type(of_numpy.drop_ramp) is int
    with pytest.raises(ValueError, match="dim is True"):
        experiment(dim=True)


def test_names_never_change():
    """A changed name would orphan every record there is."""
    assert experiment().name == "6ce0d9836e928a22"
    assert "8a470ee48d6cc4de" in {r.name for r in records.published()}  # `read` compares the hash


def test_a_record_survives_the_disk(tmp_path):
    written = record(experiment())
    path = written.save(tmp_path)
    assert path.name == f"{experiment().name}.json"
    assert records.read(path) == written
    balanced = experiment(
        loss="logistic_alignment", regularizer="directspec+", strength=1, temperature=2.5,
        temperature_unrelated=3, normalised=True, shrink=0.03, decay=0.9995, validation=0,
    )  # fmt: skip
    assert records.read(record(balanced).save(tmp_path)).experiment == balanced


def test_a_record_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    record(experiment()).save(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    monkeypatch.setattr(records.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        record(experiment()).save(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_an_edited_or_broken_record_is_refused(tmp_path):
    path = record(experiment()).save(tmp_path)
    body = json.loads(path.read_text())
    body["experiment"]["dim"] = 16
    path.write_text(json.dumps(body))
    with pytest.raises(ValueError, match="never edited by hand"):
        records.read(path)
    body["experiment"]["dim"] = 0  # settings that no longer pass
    path.write_text(json.dumps(body))
    with pytest.raises(ValueError, match=rf"{path.name} is not a record \(dim is 0"):
        records.read(path)
    path.write_text(path.read_text()[:50])
    with pytest.raises(ValueError, match="is not a record"):
        records.read(path)


def test_find_looks_where_records_are_written(tmp_path, monkeypatch):
    monkeypatch.setenv("SPECREC_RESULTS", str(tmp_path))
    assert records.find(experiment()) is None
    record(experiment()).save()
    assert records.find(experiment()) == record(experiment())


def test_provenance_names_every_kind_of_run():
    long, quick = record(experiment()), replace(record(experiment(dim=9)), profile="quick")
    assert provenance(long) == f"paper · 2 seeds · cpu · record {long.name[:8]}"
    assert provenance(long, quick, long) == (
        f"paper · 2 seeds · cpu · 2 records; quick · 2 seeds · cpu · record {quick.name[:8]}"
    )


def test_series_end_with_the_seed_that_stops_first():
    uneven = replace(
        record(experiment()), history={"epoch": [[0, 1, 2], [0, 1]], "x": [[1, 2, 3], [4, 5]]}
    )
    assert uneven.series("x") == ([0, 1], [[1, 2], [4, 5]])


@pytest.mark.parametrize(
    "field, value",
    [("model", "svd"), ("loss", "hinge"), ("dim", 0), ("seeds", ()), ("seeds", (1, 1)),
     ("layers", 2), ("optimizer", "x"), ("positives", "x"), ("negative_distribution", "x"),
     ("learning_rate", -1.0), ("l2", float("nan")), ("metric", "foo"), ("metric", "gini@10"),
     ("validation", 2), ("validation", -0.1), ("init_std", -1), ("dim", 4.5), ("epochs", 0),
     ("regularizer", "x"), ("strength", 1.0), ("temperature", 1.0), ("self_similarity", False),
     ("temperature_unrelated", 1.0), ("shrink", -1.0), ("shrink_variant", "unit"),
     ("l2_on", "rows"), ("decay", 0.0), ("init", "x"), ("propagation", "sum"), ("normalised", 1)],
)  # fmt: skip
def test_bad_fields_are_named(field, value):
    with pytest.raises(ValueError, match=f"{field} is"):
        experiment(**{field: value})


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match=r"loss is 'bpr': expected one without negatives"):
        experiment(regularizer="directspec", strength=0.1)
    with pytest.raises(ValueError, match=r"loss is 'bpr': expected one without negatives"):
        experiment(shrink=0.1)
    with pytest.raises(ValueError, match="temperature is None"):
        experiment(regularizer="uniformity", strength=1.0)
    with pytest.raises(ValueError, match="split_seed is"):
        experiment(validation=0.0, split_seed=1)
    with pytest.raises(ValueError, match="init_std is"):
        experiment(init="xavier", init_std=0.2)


CONTRAST = dict(layers=2, contrast_weight=0.05, contrast_temperature=0.5)
NEEDED = {  # the least that each model must be given
    "neumf": {},
    "multi_mf": dict(sets=2),
    "multi_lightgcn": dict(sets=2, layers=2),
    "sgl": dict(edge_dropout=0.1, **CONTRAST),
    "xsimgcl": dict(perturbation=0.1, contrast_layer=1, **CONTRAST),
}


@pytest.mark.parametrize("model", list(NEEDED))
def test_a_model_needs_its_settings_and_refuses_those_of_others(model):
    given = NEEDED[model]
    whole = experiment(model=model, **given)
    for name in given:
        with pytest.raises(ValueError, match=f"{name} is"):
            experiment(model=model, **{k: v for k, v in given.items() if k != name})
    everyone = dict(
        sets=2, edge_dropout=0.1, perturbation=0.1, contrast_layer=1, hidden=(8,), dropout=0.2,
        width=8, variant="official", **CONTRAST,
    )  # fmt: skip
    own = {"neumf": {"hidden", "dropout"}, "multi_mf": {"width"}, "multi_lightgcn": {"width"},
           "sgl": set(), "xsimgcl": {"variant"}}[model]  # fmt: skip
    for name, value in everyone.items():
        if name in given:
            continue
        if name in own:
            assert experiment(model=model, **given, **{name: value}).name != whole.name
        else:
            with pytest.raises(ValueError, match=f"{name} is"):
                experiment(model=model, **given, **{name: value})


def test_settings_of_the_protocol_name_an_experiment_or_are_refused(tmp_path):
    others = dict(
        test_split="8:1:1", noise=0.1, reduction="sum", candidates=100, init="xavier_normal",
        loss="bce_mean",
    )  # fmt: skip
    names = {experiment(**{k: v}).name for k, v in others.items()} | {experiment().name}
    names.add(experiment(noise=0.1, noise_kind="replaced").name)
    names.add(experiment(candidates=100, redraw=True).name)
    names.add(experiment(drop=0.2, drop_ramp=300).name)
    names.add(experiment(l2=0.1, l2_on="norms").name)
    assert len(names) == len(others) + 5
    for settings, named in (
        (dict(noise_kind="replaced"), "noise_kind"),
        (dict(redraw=True), "redraw"),
        (dict(drop_ramp=5), "drop_ramp"),
        (dict(drop=0.1), "drop_ramp"),
        (dict(test_split="8:1:1", validation=0.2), "validation"),
        (dict(init="xavier_sides"), "init"),
        (dict(model="neumf", loss="alignment"), "loss"),
        (dict(model="neumf", positives="user chunks"), "positives"),
        (dict(model="neumf", debias="pd", debias_settings=(0.1,)), "debias"),
        (dict(model="multi_mf", sets=2, regularizer="spectral_norm", strength=1.0), "regularizer"),
        (dict(drop=0.1, drop_ramp=5, positives="user chunks"), "drop"),
        (dict(drop=0.1, drop_ramp=5, debias="pd", debias_settings=(0.1,)), "drop"),
        (dict(model="multi_mf", sets=2, normalised=True), "normalised"),
        (dict(model="xsimgcl", **{**NEEDED["xsimgcl"], "contrast_layer": 3}), "contrast_layer"),
    ):
        with pytest.raises(ValueError, match=f"{named} is"):
            experiment(**settings)
    network = experiment(model="neumf", hidden=[16, 8], seeds=[0, 1])
    assert records.read(record(network).save(tmp_path)).experiment == network


def test_a_record_that_is_there_is_not_published_again(tmp_path):
    first, second = (replace(record(experiment()), seconds=[s, s]) for s in (1.0, 2.0))
    assert first.publish(tmp_path) and not second.publish(tmp_path)
    path = tmp_path / f"{first.name}.json"
    assert records.read(path) == first and list(tmp_path.iterdir()) == [path]
    second.save(tmp_path)  # where it is to be replaced
    assert records.read(path) == second and list(tmp_path.iterdir()) == [path]


def refuse_links(monkeypatch, number):
    def refuse(*_):
        raise OSError(number, "no link")

    monkeypatch.setattr(json_files.os, "link", refuse)


def test_a_folder_that_cannot_be_made_is_no_record_that_is_there(tmp_path):
    """Two sweeps may share the folder of their seeds by a link; who empties it removes it."""
    found = record(experiment())
    (tmp_path / "link").symlink_to(tmp_path / "removed")
    assert found.publish(tmp_path / "link")
    assert (tmp_path / "removed" / f"{found.name}.json").exists()
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(NotADirectoryError, match="is a file: expected a folder"):
        found.publish(tmp_path / "file")


def test_where_there_are_no_hard_links_a_record_is_published_with_a_warning(tmp_path, monkeypatch):
    refuse_links(monkeypatch, errno.EPERM)
    first, second = (replace(record(experiment()), seconds=[s, s]) for s in (1.0, 2.0))
    with pytest.warns(RuntimeWarning, match="has no hard links"):
        assert first.publish(tmp_path) and not second.publish(tmp_path)
    (path,) = tmp_path.iterdir()
    assert records.read(path) == first


def test_another_failure_is_no_reason_to_do_without_hard_links(tmp_path, monkeypatch):
    refuse_links(monkeypatch, errno.ENOSPC)
    with pytest.raises(OSError, match="no link"):
        record(experiment()).publish(tmp_path)
    assert not list(tmp_path.iterdir())


def test_of_many_that_publish_one_record_at_once_one_writes_it(tmp_path, monkeypatch):
    """All have looked, found none and written theirs aside: what is there then is the winner's."""
    at_once, rounds = 8, 20
    start, change_mode = threading.Barrier(at_once), os.chmod

    def together(path, mode):  # the last that is done before a record gets its name
        change_mode(path, mode)
        start.wait(timeout=60)

    monkeypatch.setattr(json_files.os, "chmod", together)

    def publish(which):
        won = []
        for number in range(rounds):
            mine = replace(record(experiment(dim=1 + number)), seconds=[float(which)] * 2)
            assert not (tmp_path / f"{mine.name}.json").exists()
            won.append(mine.publish(tmp_path))
            start.wait(timeout=60)
        return won

    with ThreadPoolExecutor(at_once) as executor:
        won = list(executor.map(publish, range(at_once)))
    for number in range(rounds):
        (winner,) = (which for which in range(at_once) if won[which][number])
        stands = records.read(tmp_path / f"{experiment(dim=1 + number).name}.json")
        assert stands.seconds == [float(winner)] * 2
    assert len(list(tmp_path.iterdir())) == rounds


PUBLISH = """
import sys
from dataclasses import replace
from pathlib import Path
from test_records import experiment, record
mine = replace(record(experiment()), seconds=[float(sys.argv[2])] * 2)
print("ready", flush=True)
sys.stdin.readline()
print(mine.publish(Path(sys.argv[1])), flush=True)
"""


def test_of_two_processes_that_publish_one_record_at_once_one_writes_it(tmp_path):
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PUBLISH, str(tmp_path), str(which)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path},
        )
        for which in range(2)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert sorted(said) == ["False", "True"]
    (only,) = tmp_path.iterdir()
    assert records.read(only).seconds == [float(said.index("True"))] * 2
