"""Tables of benchmarks say what the benchmarks measured."""

import json

import pytest

from specrec_core import speed, study_speed


def row(work, seconds, **info):
    stats = {"min": seconds / 2, "median": seconds, "max": 2 * seconds, "rounds": 3}
    return {"name": f"test_{work} {info}", "stats": stats, "extra_info": {"work": work, **info}}


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "cpu.json"
    rows = [
        row("epoch", 10.0, by="specrec", data="a", units=5),
        row("epoch", 14.0, by="peer", data="a", units=2),
        row("epoch", 9.0, by="peer", data="b", units=1),
        row("evaluation", 1.0, by="specrec", data="a"),
        {**row("none", 1.0), "extra_info": {}},
    ]
    path.write_text(json.dumps({"machine_info": {"cores": 2}, "benchmarks": rows}))
    return path


def test_seconds_are_those_of_one_unit(written):
    found = speed.read(written)
    assert found.machine["cores"] == 2 and len(found.rows) == 4
    assert found.of("epoch")["seconds"].tolist() == [2.0, 7.0, 9.0]
    assert found.of("epoch", data="b")["by"].tolist() == ["peer"]


def test_ratios_are_to_ours_on_the_same_work(written):
    found = speed.read(written)
    assert found.ratios("epoch", data="a").set_index("by")["ratio"].to_dict() == {
        "specrec": 1.0,
        "peer": 3.5,
    }
    assert found.ratios("epoch", data="b")["ratio"].isna().all()  # no row of ours to compare with


def test_files_of_one_device_of_one_machine_are_one_run(written, monkeypatch):
    monkeypatch.setattr(speed, "FOLDER", written.parent)
    again = row("evaluation", 0.7, by="specrec", data="a")
    more = {
        "machine_info": {"cores": 2},
        "datetime": "2026-01-02",
        "commit_info": {"id": "0123456789", "dirty": True},
        "benchmarks": [row("ranking", 3.0), again],
    }
    beside = written.with_name("cpu-large.json")
    beside.write_text(json.dumps(more))
    written.with_name("cuda.json").write_text(json.dumps(more))
    found = speed.measurements()
    assert list(found) == ["cpu", "cuda"] and len(found["cpu"].rows) == 5
    assert found["cpu"].of("ranking")["seconds"].tolist() == [3.0]
    assert found["cuda"].of("epoch").empty
    assert found["cpu"].of("evaluation")["seconds"].tolist() == [0.7]  # of the newer file
    assert found["cpu"].commits == ("0123456 and changes",)
    newest = {**json.loads(written.read_text()), "datetime": "2026-01-03"}
    newest["commit_info"] = {"id": "abcdef0123"}
    written.write_text(json.dumps(newest))
    assert speed.measurements()["cpu"].of("evaluation")["seconds"].tolist() == [1.0]
    assert speed.measurements()["cpu"].commits == ("0123456 and changes", "abcdef0")


def test_each_machine_has_a_name_and_the_newest_comes_first(written, monkeypatch):
    monkeypatch.setattr(speed, "FOLDER", written.parent)
    theirs = {
        "machine_info": {"cores": 4},
        "datetime": "2026-01-02",
        "benchmarks": [row("evaluation", 5.0, by="specrec", data="a")],
    }
    written.with_name("cpu-peers.json").write_text(json.dumps(theirs))
    found = speed.measurements()
    assert list(found) == ["cpu (cores 4)", "cpu (cores 2)"]
    assert [len(run.rows) for run in found.values()] == [1, 4]
    assert speed.newest(found, "cpu", "evaluation").machine["cores"] == 4
    assert speed.newest(found, "cpu", "epoch").machine["cores"] == 2  # the only one that has any
    assert speed.newest(found, "cpu", "epoch", data="b").machine["cores"] == 2
    assert speed.newest(found, "cuda", "epoch") is None
    assert speed.newest(found, "cpu", "epoch", nothing=1) is None


def test_rows_of_one_file_go_to_the_device_that_they_name(written, monkeypatch):
    monkeypatch.setattr(speed, "FOLDER", written.parent)
    both = [
        row("epoch", seconds, by="specrec", data="a", device=device)
        for device, seconds in (("cpu", 8.0), ("cuda", 0.5))
    ]
    peer = row("epoch", 24.0, by="peer", data="a", device="cpu")
    held = {"machine_info": {"cores": 16, "gpu": "G"}, "benchmarks": [*both, peer]}
    written.write_text(json.dumps(held))
    found = speed.measurements()
    assert list(found) == ["cpu", "cuda"]
    ratios = {name: run.ratios("epoch", data="a") for name, run in found.items()}
    assert ratios["cpu"].set_index("by")["ratio"].to_dict() == {"specrec": 1.0, "peer": 3.0}
    assert ratios["cuda"]["seconds"].tolist() == [0.5]  # and no peer of another device


def test_what_was_timed_in_turn_is_compared_with_itself(written, monkeypatch):
    monkeypatch.setattr(speed, "FOLDER", written.parent)
    times = {"specrec": [5.0, 4.0, 9.0], "other": [10.0, 10.5, 11.0]}
    beside = {
        "machine_info": {"cores": 2},
        "datetime": "2026-01-02",
        "benchmarks": [row("epoch", 99.0, data="a", units=5, times=times)],
    }
    written.with_name("cpu-peers.json").write_text(json.dumps(beside))
    found = speed.measurements()["cpu"].ratios("epoch", data="a")
    ours, peer, other = (found.set_index("by").loc[by] for by in ("specrec", "peer", "other"))
    assert (ours["seconds"], ours["least"], ours["most"], ours["rounds"]) == (5.0, 4.0, 9.0, 3)
    assert (other["ratio"], other["in_turn"]) == (2.1, True)
    assert (peer["ratio"], peer["in_turn"]) == (1.4, False)  # 7 s over the newest of ours
    assert found["by"].tolist()[0] == "specrec" and len(found) == 3

    fewer = {"specrec": [1.0], "other": [1.5]}
    most = {"specrec": [4.0], "other": [12.0], "third": [8.0]}
    for name, date, times in (("x", "2026-01-03", most), ("y", "2026-01-04", fewer)):
        one = row("ranking", 9.0, by=name, times=times)
        held = {"machine_info": {"cores": 2}, "datetime": date, "benchmarks": [one]}
        written.with_name(f"cpu-{name}.json").write_text(json.dumps(held))
    found = speed.measurements()["cpu"].ratios("ranking").set_index("by")
    assert found["seconds"].to_dict() == most | {by: t[0] for by, t in most.items()}
    assert found["ratio"].to_dict() == {"specrec": 1.0, "other": 3.0, "third": 2.0}


def test_the_share_of_the_roofline_is_of_the_bandwidth_measured(written):
    assert speed.read(written).rooflines().empty
    held = json.loads(written.read_text())
    held["benchmarks"] += [
        row("epoch", 4.0, by="specrec", data="c", bytes=3e9),
        row("bandwidth", 2.0, bytes=20e9, units=2),
    ]
    written.write_text(json.dumps(held))
    assert speed.read(written).bandwidth() == 20e9
    found = speed.read(written).rooflines()
    assert found["data"].tolist() == ["c"]
    assert found["share"].tolist() == [pytest.approx(0.0375)]


def test_another_file_is_refused(tmp_path):
    (tmp_path / "x.json").write_text('{"benchmarks": [], "machine_info": {"node": "n"}}')
    with pytest.raises(ValueError, match="make bench"):
        speed.read(tmp_path / "x.json")


def test_when_a_score_is_reached():
    curve = {"seconds": [1.0, 2.0, 3.0], "ndcg@20": [0.1, 0.3, 0.2]}
    assert speed.reached_at(curve, 0.2) == 2.0
    assert speed.reached_at(curve, 0.3) == 2.0
    assert speed.reached_at(curve, 0.31) is None
    assert speed.best([curve, {"seconds": [9.0], "ndcg@20": [0.4]}])["seconds"] == [9.0]


def test_time_to_equal_quality_is_to_the_lower_of_the_best():
    slow = {"seconds": [1.0, 2.0, 3.0, 4.0], "ndcg@20": [0.1, 0.2, 0.299, 0.4]}
    weak = {"seconds": [0.1, 0.2], "ndcg@20": [0.29, 0.1]}
    theirs = [{"seconds": [1.0, 1.5], "ndcg@20": [0.2, 0.3]}]
    assert speed.to_equal_quality([weak, slow], theirs) == (3.0, 1.5)
    assert speed.to_equal_quality(theirs, [weak, slow]) == (1.5, 3.0)
    early = {"seconds": [2.0, 2.5], "ndcg@20": [0.298, 0.1]}  # ends lower, is there first
    assert speed.to_equal_quality([early, slow], theirs) == (2.0, 1.5)
    assert speed.fastest_to([weak, early], 0.35) is None


@pytest.mark.parametrize("each", [0.5, -0.5])
def test_the_time_of_an_epoch_has_no_part_of_the_first_run(monkeypatch, each):
    """What is loaded once made the first of two runs the longer one."""
    first = iter([7.0])

    def spent(e, data):
        seconds = next(first, 0.0) + 2 + each * e.epochs
        return seconds, seconds

    monkeypatch.setattr(study_speed, "_spent", spent)
    protocol = json.dumps({"dim": 4})
    found = {"dataset": "synthetic", "seed": 0, "progress": False, "epochs": 2}
    if each > 0:
        timed = study_speed.epoch(**found, protocol=protocol).metrics
        assert timed["processor seconds of an epoch"] == pytest.approx(each)
    else:
        with pytest.raises(RuntimeError, match="2 more epochs took -1 s: time it again"):
            study_speed.epoch(**found, protocol=protocol)
