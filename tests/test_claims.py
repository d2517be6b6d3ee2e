"""Verdicts: never blank, never rounded to agree."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from test_records import experiment, record

from specrec_core import claims, proof_claims, wording
from specrec_core.claims import Claim, Comparison, Reported
from specrec_core.proof_claims import measured, named
from specrec_core.resn_suites import STRONG


def test_mean_interval_is_scipys():
    values = [0.31, 0.28, 0.35, 0.30, 0.29]
    mean, half = claims.mean_interval(values)
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high), rel=1e-12)
    assert claims.mean_interval([0.5]) == (0.5, math.inf)
    with pytest.raises(ValueError, match="values is empty"):
        claims.mean_interval([])


def test_show():
    assert claims.show([0.1, 0.1, 0.1], 2) == "0.10 ± 0.00"
    assert claims.show([0.1234], 3) == "0.123 (one seed)"


def reported(value):
    return Reported(value, "table 1", "primary")


@pytest.mark.parametrize(
    "value, tolerance, verdict",
    [
        (0.15, 1e-9, claims.REPRODUCED),  # the mean itself
        (0.16, 0.1, claims.REPRODUCED),  # within tolerance
        (9.00, 0.1, claims.DEVIATES),
        (0.30, 0.1, claims.DEVIATES),  # a wide interval excuses nothing
        (None, 0.1, claims.NOT_REPORTED),
    ],
)
def test_comparison(value, tolerance, verdict):
    row = Comparison("s", "a", "ndcg@10", reported(value), tolerance)
    got = row.verdict({"a": record(experiment())})
    assert got.verdict == verdict
    assert got.reproduced.startswith("0.1500 ±")
    judged = got.reported.endswith(f"; within\u00a0{100 * tolerance:g}\u00a0%)")
    assert judged if value is not None else got.reported == claims.NOT_REPORTED
    assert got.record == experiment().name
    assert row.verdict({"a": None}).verdict == claims.NOT_RUN


def test_claim():
    def holds(records):
        value = records["a"].metrics["ndcg@10"][1]
        return value > 0.15, f"{value:.2f}"

    claim = Claim("s", ("a",), holds)
    assert claim.verdict({"a": record(experiment())}).verdict == claims.REPRODUCED
    against = Claim("s", ("a",), lambda r: (False, "no"))
    assert against.verdict({"a": record(experiment())}).verdict == claims.DEVIATES
    assert claim.verdict({"a": None}).verdict == claims.NOT_RUN
    assert claim.verdict({"a": record(experiment())}).record == experiment().name
    several = Claim("s", ("a", "b"), holds).verdict(dict.fromkeys("ab", record(experiment())))
    assert several.verdict == claims.REPRODUCED and several.record is None  # of which of them?


def test_reported_numbers_come_from_one_row(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "REPORTED", tmp_path)
    (tmp_path / "t.csv").write_text(
        "metric,value,source,provenance\nndcg,0.2,tab. 1,primary\nrecall,,tab. 1,not-found\n"
    )
    assert Reported.lookup("t", metric="ndcg") == Reported(0.2, "tab. 1", "primary")
    assert Reported.lookup("t", metric="recall").value is None
    with pytest.raises(ValueError, match="0 rows"):
        Reported.lookup("t", metric="map")
    with pytest.raises(ValueError, match="provenance is"):
        Reported(0.1, "x", "hearsay")


def test_a_difference_is_shown_seed_by_seed_and_with_a_minus_sign():
    before, after = [0.5, 0.7, 0.6], [0.4, 0.6, 0.5]
    assert claims.show_difference(after, before, 2) == "−0.10 ± 0.00"
    assert claims.show_difference(before, after, 2) == "0.10 ± 0.00"
    assert claims.show_difference([0.2], [0.5], 1) == "−0.3 (one seed)"


def test_no_more_digits_than_the_interval_supports():
    assert claims.show([1765.4130, 1779.8130, 1772.6]) == "1773 ± 18"
    assert claims.show([10000.4, 10400.5, 10800.6]) == "10,400 ± 990"
    assert claims.show([13.0, 13.2, 13.3]) == "13.17 ± 0.38"
    assert claims.show([300, 300, 300], 0) == "300 ± 0"
    assert claims.show([50, 55, 60], 0) == "55 ± 12"  # and never more than were asked for
    assert claims.show([0.5, 0.6, 0.7]) == "0.6000 ± 0.2484"  # of one metric, four everywhere


def test_labels_are_printed_in_words():
    assert wording.words("bpr noise=0.3 d=512") == "BPR, 30 % noise, 512 dimensions"
    assert wording.words("trained ml-1m, squared error") == "ML-1M, squared error"
    assert wording.words("coat LightGCN ReSN (formula), BPR") == (
        "Coat, LightGCN, ReSN (formula), BPR"
    )
    assert wording.words("svd noise=0 drop=0.2") == "SVD, no noise, 20 % dropped"
    assert wording.words("time of 100000 users") == "100,000 users"
    assert [wording.power(x) for x in (1e-5, 3e-4, 0.01)] == ["10⁻⁵", "0.0003", "0.01"]
    shown = {f"ml-1m tuning {method} strength=1e-05": "1" for method in ("A", "B")}
    assert wording.listed(shown) == "A: 1, B: 1"
    assert wording.listed({"seen coat": "0.9"}) == "0.9"  # its row says which it is
    for method, setting in STRONG.items():
        said = wording.words(f"coat {method} strength={setting['strength']:g}")
        assert wording.words(f"coat {method}, strong") == said


def test_a_degree_of_chapter_10_is_no_dimension():
    assert named("planted d=160") == "mean degree 160"
    assert named("planted b=0.4 expectation") == "b/a = 0.4, expectation"
    assert named("planted expectation, U√S") == "expectation, U√S"
    assert [named(f"ppmi m={m}") for m in (2000, 60000)] == ["2000 playlists", "60,000 playlists"]
    assert measured("norm against theta") == "norm against θ"


def fake(metrics=None, **history):
    return SimpleNamespace(metrics=metrics or {}, history=history)


def test_claims_about_theory_look_at_every_seed():
    between = proof_claims.every_seed("a", "slope", -0.55, -0.45)
    for other, holds in ((-0.46, True), (-0.44, False), (-0.56, False)):
        assert between({"a": fake({"slope": [-0.5, other]})})[0] is holds
    for ratio, holds in ((1.09, True), (0.91, True), (1.11, False), (0.89, False)):
        two = [fake({"measured over predicted": values}) for values in ([1.0], [1.0, ratio])]
        assert proof_claims.formula_holds({"angle d=80": two[0], "b": two[1]})[0] is holds
    merges = proof_claims.merges_as_predicted("a")
    for at, holds in ((0.52, True), (0.53, False), (0.47, False), (None, False)):
        found = fake({"US merges at": [0.5, at], "US predicted": [0.5, 0.5]})
        assert merges({"a": found})[0] is holds
    for series, holds in (
        ([0.97, 0.7, 0.705, 0.5], True), ([0.94, 0.7, 0.5], False),
        ([0.97, 0.7, 0.72, 0.5], False), ([0.97, 0.7, 0.51], False),
    ):  # fmt: skip
        found = fake(**{"slope inside": [[1.0, 0.8, 0.5], series]})
        assert proof_claims.exponent_slides({"a": found})[0] is holds
    ranks = proof_claims.ranks_as_degree(("a", "b"), 0.9)
    good = fake({"norm against degree": [0.9, 0.95]})
    for least, holds in ((0.9, True), (0.89, False)):
        found = fake({"norm against degree": [0.99, least]})
        assert ranks({"a": good, "b": found})[0] is holds


def test_claims_about_planted_models_compare_the_right_two():
    for ppmi, counts, holds in (
        ((0.4, 0.3), (0.6, 0.6), True), ((0.4, 0.4), (0.6, 0.6), False),
        ((0.4, 0.3), (0.6, 0.3), False),
    ):  # fmt: skip
        found = {
            f"ppmi m={m}": fake({"ppmi: CV of norms": [a], "counts: CV of norms": [b]})
            for m, a, b in zip((2000, 5000), ppmi, counts, strict=True)
        }
        assert proof_claims.flattens(found)[0] is holds
    rays = {"Spk": [1.0], "CV of norms": [0.9]}
    for spk, spread, holds in ((1.09, 0.29, True), (1.11, 0.29, False), (0.5, 0.31, False)):
        blobs = fake({"Spk": [spk], "CV of norms": [spread]})
        both = {"planted theta constant": blobs, "planted d=80": fake(rays)}
        assert proof_claims.blind_to_blobs(both)[0] is holds
    for cosine, accuracy, holds in ((0.956, 0.995, True), (0.954, 0.995, False), (1, 0.98, False)):
        paired = fake({"cosine to ray": [cosine], "accuracy": [1.0, accuracy]})
        both = {"planted paired": paired, "planted d=80": fake({"cosine to ray": [0.96]})}
        assert proof_claims.no_assortativity_needed(both)[0] is holds
