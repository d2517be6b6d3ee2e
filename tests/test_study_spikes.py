"""The studies of chapter 9, the names of items, and the predicates of its claims."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from specrec_core import catalogue, datasets, item_names, spike_claims, spikes, study_spikes
from specrec_core import registry as register
from specrec_core.claims import NOT_REPORTED, NOT_RUN
from specrec_core.factorisation import truncated_svd
from specrec_core.ppmi import ppmi
from specrec_core.records import Record
from specrec_core.studies import Study

CUTS = (4, 8, 16)


@pytest.fixture(scope="module")
def planted():
    return study_spikes.open_data(
        dataset="synthetic", seed=0, cuts=CUTS, closely=8, cosines=(0.9,), coverages=(0.25, 0.5),
        exponents=(0.0, 1.0), gaussian=(4,), shaped=(4,),
    )  # fmt: skip


def test_open_data_measures_the_table_us_of_the_ppmi_graph(planted):
    data = datasets.load("synthetic", validation=0.0)
    users, items = (data.train + data.test).toarray().nonzero()
    graph = ppmi(users, items)
    svd = truncated_svd(graph.matrix, 16)
    found = planted.metrics
    assert found["items"] == len(graph.items)
    assert planted.spectrum["graph"] == svd.s.tolist()
    for f in CUTS:
        greedy = spikes.peaks(svd.u[:, :f] * svd.s[:f])
        assert found[f"peaks@{f}"] == len(greedy.peaks)
        assert found[f"spk@{f}"] == pytest.approx(100 * len(greedy.peaks) / len(graph.items))
    norms = np.linalg.norm(svd.u[:, :8] * svd.s[:8], axis=1)
    ranks = [pd.Series(x).rank() for x in (norms, graph.matrix.sum(axis=1))]
    assert found["norm and strength@8"] == pytest.approx(ranks[0].corr(ranks[1]))


def test_settings_at_their_defaults_give_spk_itself(planted):
    found = planted.metrics
    assert found["spk@8 cos=0.9"] == found["spk@8 coverage=0.5"] == found["spk@8"]
    assert found["spk@8 coverage=0.25"] <= found["spk@8"]
    for f in CUTS:
        assert found[f"spk@{f} exponent=1"] == found[f"spk@{f}"]
    assert 0 < found["shaped gaussian spk@4"] <= found["gaussian spk@4"] <= 50.2


def test_the_profile_ends_where_spk_stops(planted):
    curves = planted.curves
    assert curves["peak"][0] == 1 and curves["peak"][-1] == planted.metrics["peaks@8"]
    assert curves["rank"][0] == 1  # the longest row is the first peak
    assert np.diff(curves["rank"]).min() > 0 and np.diff(curves["covered"]).min() > 0
    assert 0.5 < curves["covered"][-1] <= 1
    json.dumps(planted.curves), json.dumps(planted.data)


def test_half_a_matrix_has_the_same_items_and_more_zero_rows(planted):
    half = study_spikes.open_data(dataset="synthetic", seed=0, cuts=CUTS, closely=8, mirror=False)
    assert half.metrics["items"] == planted.metrics["items"]
    assert half.metrics["zero rows@16"] > planted.metrics["zero rows@16"] == 0
    assert "negative eigenvalues" not in half.metrics
    with pytest.raises(ValueError, match="closely: 7"):
        study_spikes.open_data(dataset="synthetic", seed=0, cuts=CUTS, closely=7)
    with pytest.raises(ValueError, match="input is 'twice'"):
        study_spikes.open_data(dataset="synthetic", seed=0, cuts=CUTS, closely=8, input="twice")


def test_rows_keep_repeats_and_the_order_of_ids(tmp_path, monkeypatch):
    monkeypatch.setenv("SPECREC_DATA", str(tmp_path))
    (tmp_path / "aotm-2011").mkdir()
    lists = [{"filtered_lists": [["b", "a"], ["b"]]}, {"filtered_lists": [["c"]]}]
    (tmp_path / "aotm-2011" / "aotm2011_playlists.json").write_text(json.dumps(lists))
    found = study_spikes.rows("aotm-2011")
    assert found.ids.tolist() == ["a", "b", "c"]
    assert found.contexts.tolist() == [0, 0, 0, 1] and found.items.tolist() == [1, 0, 1, 2]


def test_random_parts_of_a_table_have_at_most_as_many_peaks_as_rows():
    found = study_spikes.sizes(dataset="synthetic", seed=0, counts=(200, 10**6), f=8).metrics
    assert set(found) == {"spk of 200 rows", "spk of 200 items", "items of 200"}
    assert 0.5 <= found["spk of 200 rows"] <= 50.5 and found["items of 200"] <= 200


def test_friends_factorise_the_adjacency(tmp_path, monkeypatch):
    draw = np.random.default_rng(0)
    pairs = np.unique(np.sort(draw.integers(0, 60, (400, 2)), axis=1), axis=0)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    path = tmp_path / "HU_edges.csv"
    pd.DataFrame(pairs, columns=["node_1", "node_2"]).to_csv(path, index=False)
    monkeypatch.setattr(datasets, "fetch", lambda name: {"HU_edges.csv": path})
    found = study_spikes.friends(dataset="x", seed=0, country="HU", cuts=(2, 4))
    assert found.metrics["nodes"] == 60 and found.metrics["edges"] == len(pairs)
    dense = np.zeros((60, 60))
    dense[tuple(pairs.T)] = dense[tuple(pairs.T[::-1])] = 1
    largest = np.sort(np.abs(np.linalg.eigvalsh(dense)))[::-1][:4]
    assert found.spectrum["graph"] == pytest.approx(largest, rel=0.02)


def test_pairs_within_groups_are_two_rows_of_one_group():
    groups = np.array([0, -1, 1, 0, 2, 1, 1])  # group 2 has one row alone
    one, two = study_spikes._pairs_within(groups, 5000, np.random.default_rng(0))
    assert (one != two).all() and (groups[one] == groups[two]).all()
    assert set(groups[one]) == {0, 1}
    shares = np.bincount(one, minlength=7)[[0, 3, 2, 5, 6]] / 5000
    assert shares == pytest.approx(np.full(5, 0.2), abs=0.03)  # any member alike
    after = np.bincount(two[one == 2], minlength=7)[[5, 6]]
    assert after[0] == pytest.approx(after[1], rel=0.2)
    with pytest.raises(ValueError, match="groups"):
        study_spikes._pairs_within(np.array([0, 1]), 3, np.random.default_rng(0))


# --------------------------------------------------------------------------------- names of items


def known() -> pd.DataFrame:
    labels = [("metal", "rock"), ("metal", "rock"), ("rock",), ("choir",), (), ("choir", "rock")]
    by = ["A", "A", "B", "C", "C", "D"]
    return pd.DataFrame({"name": list("uvwxyz"), "by": by, "labels": labels})


def test_portraits_name_what_is_frequent_here_and_rare_elsewhere():
    groups, norms = np.array([0, 0, 0, 1, 1, -1]), np.array([1.0, 3.0, 2.0, 5.0, 6.0, 9.0])
    found = item_names.portraits(known(), groups, norms)
    assert found["members"].tolist() == [3, 2] and found["longest"].tolist() == ["v, A", "y, C"]
    assert found.loc[0, "typical"].startswith("metal (67%)")  # rock is everywhere
    assert found.loc[1, "typical"] == "choir (100%)"  # of those that have labels
    assert found.loc[1, "norms"] == "5–6" and found.loc[0, "artists"] == "A, B"
    assert "typical" not in item_names.portraits(known().assign(labels=[()] * 6), groups, norms)
    with pytest.raises(ValueError, match="5 and 6"):
        item_names.portraits(known(), groups[1:], norms)


def test_names_of_songs_artists_and_films(tmp_path):
    songs = {"song_hash.txt": "0 \tOne w\\/ Two\tA\n1 \tSolo\tB\n", "tags.txt": "0 1\n#\n",
             "tag_hash.txt": "0, rock\n1, pop, too\n"}  # fmt: skip
    artists = {"artists.dat": "id\tname\turl\tpictureURL\n7\tMALICE MIZER\tu\tp\n"}
    films = {"movies.csv": 'Id,title,genres\n3,"Heat, The (1995)",Crime|Drama\n4,X,(no genres '
             "listed)\n"}  # fmt: skip
    old = {"ml-100k.item": "id\ttitle\tyear\tclass\n1\tToy Story\t1995\tComedy unknown\n"}
    expected = {
        item_names._songs: {0: ("One w/ Two", "A", ("rock", "pop, too")), 1: ("Solo", "B", ())},
        item_names._artists: {7: ("MALICE MIZER", "", ())},
        item_names._films: {3: ("Heat, The (1995)", "", ("Crime", "Drama")), 4: ("X", "", ())},
        item_names._old_films: {1: ("Toy Story (1995)", "", ("Comedy",))},
    }
    for read, files in zip(expected, (songs, artists, films, old), strict=True):
        for name, text in files.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        found = read({name: tmp_path / name for name in files})
        assert {i: tuple(row) for i, row in zip(found.index, found.values, strict=True)} == (
            expected[read]
        )
    (tmp_path / "tags.txt").write_text("0 1\n")
    with pytest.raises(ValueError, match=r"2 lines and tags\.txt 1"):
        item_names._songs({name: tmp_path / name for name in songs})
    with pytest.raises(ValueError, match="lastfm-kgat"):
        item_names.names("lastfm-kgat")


# ---------------------------------------------------------------------------------------- claims


def record(**metrics: list[float]) -> Record:
    return Record(Study.of("study_x.y"), metrics, [], [], {}, {}, [1.0], "cpu", "paper", {})


def peaks(*counts: float, **more: list[float]) -> Record:
    values = {f"peaks@{f}": [count] for f, count in zip(spike_claims.CUTS, counts, strict=True)}
    return record(**values, **{k.replace("_", " "): v for k, v in more.items()})


def test_claims_can_hold_and_fail():
    assert spike_claims.grows({"a": peaks(1, 2, 3, 4, 5)})[0]
    assert not spike_claims.grows({"a": peaks(1, 2, 2, 4, 5)})[0]
    share = {"a": record(**{"spk@8": [0.5, 0.7]}), "b": record(**{"spk@8": [1.4, 0.8]})}
    assert not spike_claims.few_peaks(8)(share)[0]
    assert spike_claims.few_peaks(8)({"a": share["a"]})[0]
    assert spike_claims.spikier("spk@8", {"songs": ("a",), "films": ("b",)})(share)[0]
    assert not spike_claims.spikier("spk@8", {"songs": ("b",), "films": ("a",)})(share)[0]
    steady = {"a": record(**{f"peaks@{f}": [100.0, 103.0] for f in spike_claims.CUTS})}
    assert spike_claims.seeds_agree(steady)[0]
    shaky = {"a": record(**{f"peaks@{f}": [100.0, 130.0] for f in spike_claims.CUTS})}
    assert not spike_claims.seeds_agree(shaky)[0]


def test_the_earlier_numbers_name_studies_of_the_suite():
    suite = catalogue.suite("09_spikes", "paper")
    assert len(spike_claims.earlier()) > 200
    assert {name for name, _, _ in spike_claims.earlier()} <= set(suite)
    metrics = {which: [value] for name, which, value in spike_claims.earlier()
               if name == "cornell-yes1k distinct"}  # fmt: skip
    found = {name: record(**metrics) for name, _, _ in spike_claims.earlier()}
    one = spike_claims.as_before(lambda which: which == "spk@128 exponent=0.5", 0.0)
    assert one(found)[0]  # the cell is there once, and is met exactly
    assert not spike_claims.as_before(lambda which: which == "items", 0.05)(found)[0]


def test_what_is_out_of_reach_is_never_blank():
    shown = catalogue.verdicts("09_spikes")[:8]
    assert [v.verdict for v in shown] == [NOT_REPORTED] * 6 + [NOT_RUN] * 2
    assert all(v.note for v in shown) and shown[6].reported.startswith("361 (secondary")


def test_studies_name_the_versions_of_the_register():
    for study in catalogue.suite("09_spikes", "paper").values():
        assert study.version == register.register()[study.dataset].version


def test_a_table_of_one_ray_has_one_peak_and_all_its_rows_in_it():
    table = torch.outer(torch.arange(1.0, 41.0), torch.tensor([0.6, 0.8]))
    found = study_spikes.measured_at(table)
    assert found["peaks@2"] == 1 and found["largest spike@2"] == 40
    assert found["spread inside spikes@2"] == pytest.approx(np.std(np.arange(1, 41)) / 20.5)
    assert found["ratio inside spikes@2"] == pytest.approx(
        np.percentile(np.arange(1, 41), 95) / np.percentile(np.arange(1, 41), 5)
    )


def test_claims_compare_the_kinds_of_data_and_of_matrix_that_they_name():
    longer = {spike_claims.label(*each): 0.2 for each in spike_claims.FILMS}
    longer |= {spike_claims.label(*each): 0.3 for each in spike_claims.SONGS}
    for spread, holds in ((0.25, True), (0.15, False)):
        found = {**longer, spike_claims.label(*spike_claims.ARTISTS[0]): spread}
        records = {k: record(**{"spread inside spikes@64": [v]}) for k, v in found.items()}
        assert spike_claims.longer_in_music(records)[0] is holds
    for popularity, holds in ((0.7, True), (0.9, False)):
        ranks = {"norm and strength@64": [0.8], "norm and popularity@64": [popularity]}
        assert spike_claims.norm_is_strength({"a": record(**ranks)})[0] is holds
    plain = {name: peaks(*[100] * len(spike_claims.CUTS)) for name in spike_claims.EVERY}
    for count, more, agrees in ((101, True, True), (106, True, False), (99, False, True)):
        other = peaks(*[count] * len(spike_claims.CUTS))
        half = {name + spike_claims.UPPER: other for name in spike_claims.EVERY}
        exact = {name + spike_claims.ARPACK: other for name in spike_claims.EVERY}
        assert spike_claims.upper_is_higher(plain | half)[0] is more
        assert spike_claims.arpack_agrees(plain | exact)[0] is agrees


def test_spikes_are_below_half_of_the_smaller_cloud():
    """From f = 64 on of half the rows, as the cloud at f = 32 has no two near each other."""
    clouds = {"gaussian spk@16": [40.0], "shaped gaussian spk@16": [10.0],
              "gaussian spk@32": [50.0], "shaped gaussian spk@32": [49.9]}  # fmt: skip
    for found, holds in (
        ((4.9, 20, 24, 24), True), ((5.1, 20, 24, 24), False),
        ((4.9, 26, 24, 24), False), ((4.9, 20, 24, 26), False),
    ):  # fmt: skip
        spk = {f"spk@{f}": [x] for f, x in zip((16, 32, 64, 128), found, strict=True)}
        assert spike_claims.below_chance({"a": record(**clouds, **spk)})[0] is holds
