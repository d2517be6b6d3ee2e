"""Verdicts: never blank, never rounded to agree."""

import math

import numpy as np
import pytest
from scipy import stats
from test_records import experiment, record

from specrec_core import claims, wording
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
