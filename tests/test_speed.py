"""Tables of benchmarks say what the benchmarks measured."""

import json

import pytest

from specrec_core import speed


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


def test_files_of_one_device_are_one_run_unless_machines_differ(written, monkeypatch):
    monkeypatch.setattr(speed, "FOLDER", written.parent)
    again = row("evaluation", 0.7, by="specrec", data="a")
    more = {
        "machine_info": {"cores": 2},
        "datetime": "2026-01-02",
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
    newest = {**json.loads(written.read_text()), "datetime": "2026-01-03"}
    written.write_text(json.dumps(newest))
    assert speed.measurements()["cpu"].of("evaluation")["seconds"].tolist() == [1.0]
    beside.write_text(json.dumps({**more, "machine_info": {"cores": 4}}))
    with pytest.raises(ValueError, match="make bench"):
        speed.measurements()


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
