"""Studies are named by what they are, are measured seed by seed, and leave records."""

import importlib
import inspect
import sys
import types

import pytest

from specrec_core import catalogue, estimates, experiments, records, studies, sweep
from specrec_core.catalogue import Chapter
from specrec_core.studies import Measured, Study, measure


def study(**changes) -> Study:
    return Study.of("study_toy.add", **{"seeds": (0, 1), "a": 1, "b": [2.0, 3.0], **changes})


@pytest.fixture
def toy(monkeypatch):
    """A module ``specrec_core.study_toy`` that adds its settings to the seed."""
    module = types.ModuleType("specrec_core.study_toy")

    def add(*, dataset, seed, progress, a, b):
        if a < 0:
            raise ValueError("a is negative")
        return Measured({"sum": a + sum(b) + seed}, {"items": [2.0, 1 / 3]}, {"b": list(b)})

    module.add = add
    monkeypatch.setitem(sys.modules, "specrec_core.study_toy", module)


def test_the_name_depends_on_every_part():
    others = [study(a=2), study(b=[2.0]), study(seeds=(0,)), study(dataset="x", version="1"),
              study(c=1), Study.of("study_toy.other", seeds=(0, 1), a=1, b=[2.0, 3.0])]  # fmt: skip
    assert len({s.name for s in others} | {study().name}) == len(others) + 1
    assert study().name == study(b=(2.0, 3.0)).name == study(seeds=[0, 1]).name


def test_a_study_goes_through_its_canonical_form():
    for one in (study(), study(dataset="x", version="1", c="text", d=True)):
        assert Study.from_definition(one.definition()) == one
    assert study().with_(seeds=(5,), a=7) == study(seeds=(5,), a=7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": ()}, "seeds"),
        ({"seeds": (1, 1)}, "seeds"),
        ({"a": None}, "a is None"),
        ({"a": {"x": 1}}, "a is"),
        ({"dataset": "x"}, "version"),
        ({"version": "1"}, "version"),
    ],
)
def test_bad_studies_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        study(**changes)
    with pytest.raises(ValueError, match="kind"):
        Study.of("os.system")


def test_what_a_study_finds_becomes_a_record(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("SPECREC_RESULTS", str(tmp_path))
    record = experiments.obtain(study(), progress=False)
    assert record.metrics == {"sum": [6.0, 7.0]}
    assert record.spectrum == {"items": [[2.0, 0.333333], [2.0, 0.333333]]}
    assert record.history == {"b": [[2.0, 3.0], [2.0, 3.0]]}
    assert records.find(study()) == record
    assert record.name == study().name and len(record.seconds) == 2
    with pytest.raises(TypeError, match=r"study_toy\.add"):
        _ = record.training


def test_unknown_kinds_and_other_versions_are_refused(toy):
    with pytest.raises(ValueError, match="no_such"):
        measure(Study.of("study_toy.no_such"))
    with pytest.raises(ValueError, match="define the study anew"):
        measure(study(dataset="synthetic", version="another"))


def test_a_sweep_runs_studies_and_survives_one_that_fails(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPECREC_RESULTS", str(tmp_path))
    chapter = Chapter("toy", (), lambda profile, data: {"good": study(), "bad": study(a=-1)})
    monkeypatch.setattr(catalogue, "chapters", lambda: {"toy": chapter})
    assert sweep.sweep(sweep.wanted()) == 1
    assert "failed toy/bad, seed 0: ValueError: a is negative" in capsys.readouterr().out
    assert records.find(study()) is not None
    estimate = estimates.Estimate(list(records.known()), "cpu")
    assert estimate.seconds(study(a=3)) is not None
    assert estimate.seconds(Study.of("study_toy.other")) is None


def test_settings_of_the_catalogue_fit_the_functions_that_measure():
    for chapter in catalogue.chapters():
        for profile in catalogue.PROFILES:
            for label, one in catalogue.suite(chapter, profile).items():
                if isinstance(one, studies.Study):
                    module, _, function = one.kind.partition(".")
                    found = importlib.import_module(f"specrec_core.{module}")
                    find = getattr(found, function)
                    inspect.signature(find).bind(
                        dataset=one.dataset, seed=0, progress=False, **one.settings
                    )
                    assert label
