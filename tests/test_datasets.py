"""Data sets: the register, fetching and verifying, every reader, and the measured statistics.

No test downloads. Tests of the real data run where it is at hand (in ``$SPECREC_DATA`` or cached).
"""

import gzip
import hashlib
import http.server
import io
import json
import pickle
import re
import sys
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from specrec_core import clicks, datasets, fetching, readers, registry
from specrec_core.datasets import CorruptData, DataUnavailable

TRAIN, TEST = b"0 1 3\n1 1 5\n3 0\n", b"0 5\n1 3\n3 1\n"


def pairs(matrix):
    return sorted(zip(*(ids.tolist() for ids in matrix.nonzero()), strict=True))


def source_pairs(data, split="train"):
    """Pairs of a split in the ids of the source."""
    rows, columns = getattr(data, split).nonzero()
    return sorted(zip(data.user_ids[rows].tolist(), data.item_ids[columns].tolist(), strict=True))


def write(folder: Path, **files: str | bytes) -> Path:
    for name, content in files.items():
        body = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(body)
    return folder


@pytest.fixture
def no_data_folder(monkeypatch):
    monkeypatch.delenv("SPECREC_DATA", raising=False)


@pytest.fixture
def cache(monkeypatch, tmp_path, no_data_folder):
    """An empty user's cache; returns the folder of coat in it."""
    import pooch

    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    return tmp_path / "cache" / "specrec" / "coat"


@pytest.fixture
def server(monkeypatch):
    """A local server that stands in for the origin of coat; `replies` says what it sends."""
    replies = {"train.txt": TRAIN, "test.txt": TEST}
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.strip("/")
            asked.append(name)
            content = replies[name]
            if content is None:
                self.send_error(404)
                return
            cut = isinstance(content, tuple)  # announce more than is sent
            body = content[0] if cut else content
            self.send_response(200)
            self.send_header("Content-Length", str(len(body) + (100 if cut else 0)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as local:
        threading.Thread(target=local.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{local.server_port}"
        known = {
            name: registry.File(
                "coat", name, len(body), hashlib.sha256(body).hexdigest(), f"{address}/{name}", ""
            )
            for name, body in (("train.txt", TRAIN), ("test.txt", TEST))
        }
        monkeypatch.setattr(registry, "files", lambda: {"coat": known})
        yield replies, asked
        local.shutdown()


# The register


def test_every_file_is_pinned():
    for dataset, known in registry.files().items():
        for file in known.values():
            assert re.fullmatch("[0-9a-f]{64}", file.sha256) and file.bytes > 0 and file.terms
            commit = re.search("/([0-9a-f]{40})/", file.url)
            assert commit, file.url
            if file.name in registry.register()[dataset].layouts[0].files:
                assert registry.register()[dataset].version.split("@")[1][:7] == commit[1][:7]


def test_the_data_sets_of_the_papers_are_registered():
    assert set(datasets.FREE) == {
        "citeulike", "gowalla", "yelp2018", "ml-1m", "ml-100k", "ml-latest-small", "coat",
        "douban-movie", "lastfm-hetrec", "lastfm-kgat", "cornell-yes1k",
    }  # fmt: skip
    assert set(datasets.RESTRICTED) == {
        "yelp-eals", "globo", "yahoo-r3", "modcloth", "douban-28", "aotm-2011", "deezer",
        "cornell-yes-complete", "lastfm-360k", "ml-20m", "ml-25m", "spotify-mpd", "criteo", "avazu",
    }  # fmt: skip
    assert set(datasets.SIDE_FILES) == {"deezer-friends", "spiky-official"}
    for name in (*datasets.FREE, *datasets.RESTRICTED, *datasets.SIDE_FILES):
        entry = datasets.info(name)
        assert entry.title and entry.terms and entry.source and entry.files and entry.version


@pytest.mark.parametrize(
    ("name", "like", "users", "items", "pairs"),
    [
        ("synthetic-modcloth", "modcloth", 47_958, 1_378, 82_790),
        ("synthetic-douban-28", "douban-28", 738_701 / 100, 28, 2_125_056 / 100),
    ],
)
def test_made_data_have_the_sizes_of_those_they_stand_for(name, like, users, items, pairs):
    data = datasets.load(name, validation=0.0)
    assert like in registry.register() and data.name == name
    assert (data.n_users, data.n_items) == (pytest.approx(users, abs=1), items)
    assert data.train.nnz + data.test.nnz == pytest.approx(pairs, rel=0.005)
    assert data.version == datasets.version(name) and data.checksum == datasets.checksum(name)
    assert datasets.available(name, download=False)


def test_the_command_line_says_what_is_at_hand(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPECREC_DATA", str(tmp_path))
    assert datasets.main(["synthetic", "coat"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "synthetic: at hand" and "coat" in said[1] and str(tmp_path) in said[1]
    assert datasets.main(["--fetch", "coat"]) == 1
    with pytest.raises(SystemExit):
        datasets.main(["coatt"])
    assert "did you mean 'coat'" in capsys.readouterr().err


def test_unknown_names_and_side_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"mean 'citeulike'\?\), expected one of synth.*citeulike"):
        datasets.load("citeulik")
    with pytest.raises(ValueError, match=r"'ML-1M' .did you mean 'ml-1m'"):
        datasets.load("ML-1M")
    with pytest.raises(ValueError, match="'synthetic' is drawn, and has no files"):
        datasets.fetch("synthetic")
    with pytest.raises(ValueError, match=r"validation: 1\.5, expected a share"):
        datasets.load("coat", validation=1.5)
    with pytest.raises(ValueError, match="'deezer-friends' holds no user-item interactions"):
        datasets.load("deezer-friends", folder=tmp_path)


# Fetching


def test_fetched_once_and_loaded(cache, server):
    _, asked = server
    assert not datasets.available("coat", download=False) and not asked
    data = datasets.load("coat", validation=0)
    assert source_pairs(data) == [(0, 1), (0, 3), (1, 1), (1, 5), (3, 0)]
    assert source_pairs(data, "test") == [(0, 5), (1, 3), (3, 1)]
    assert data.train.shape == (3, 4) and data.user_ids.tolist() == [0, 1, 3]
    assert data.item_ids.tolist() == [0, 1, 3, 5]
    assert data.dropped == {
        "user ids without any pair, closed up": 1,
        "item ids without any pair, closed up": 2,
    }
    assert asked == ["train.txt", "test.txt"]
    assert datasets.available("coat", download=False)
    assert datasets.load("coat", validation=0).checksum == data.checksum
    assert asked == ["train.txt", "test.txt"]
    each = sorted(hashlib.sha256(body).hexdigest() for body in (TRAIN, TEST))
    assert data.checksum == hashlib.sha256("".join(each).encode()).hexdigest()


@pytest.mark.parametrize("wrong", [b"<html>not found</html>", TEST[:-3], b""])
def test_wrong_file_is_refused_and_nothing_is_kept(cache, server, wrong):
    server[0]["test.txt"] = wrong
    with pytest.raises(CorruptData, match=r"coat: what http.*test.txt sent is not the 12 bytes"):
        datasets.load("coat")
    assert [path.name for path in cache.iterdir()] == ["train.txt"]
    server[0]["test.txt"] = TEST
    assert datasets.load("coat").test.nnz == 3


@pytest.mark.parametrize("reply", [None, (TRAIN[:5],)])
def test_failed_or_broken_transfer_is_reported_and_nothing_is_kept(cache, server, reply):
    server[0]["train.txt"] = reply
    with pytest.raises(DataUnavailable, match=r"coat: train.txt could not be fetched from http"):
        datasets.load("coat")
    assert not cache.exists() or not list(cache.iterdir())
    state = datasets.available("coat")
    assert not state and "could not be fetched" in state.reason


def test_file_spoilt_in_the_cache_is_replaced_or_removed(cache, server, caplog):
    replies, _ = server
    datasets.load("coat")
    (cache / "train.txt").write_bytes(TRAIN[:4])
    assert datasets.load("coat", validation=0).train.nnz == 5
    assert "is removed and fetched anew" in caplog.text
    (cache / "train.txt").write_bytes(TRAIN[:4])
    replies["train.txt"] = b"nonsense"
    with pytest.raises(CorruptData):
        datasets.load("coat")
    assert not (cache / "train.txt").exists()


def test_dead_network_is_noticed_soon(cache, server, monkeypatch):
    dead = registry.files()["coat"]["train.txt"]
    dead = registry.File("coat", dead.name, dead.bytes, dead.sha256, "http://127.0.0.1:9/x", "")
    monkeypatch.setattr(registry, "files", lambda: {"coat": {"train.txt": dead}})
    start = time.perf_counter()
    assert not datasets.available("coat")
    assert time.perf_counter() - start < 2 * fetching.CONNECT_SECONDS


def test_without_pooch_the_error_names_both_ways_out(no_data_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(DataUnavailable, match=r"needs the package pooch; .* SPECREC_DATA"):
        datasets.load("coat")


def test_data_folder_is_verified_and_never_downloaded_into(cache, server, monkeypatch, tmp_path):
    _, asked = server
    monkeypatch.setenv("SPECREC_DATA", str(tmp_path))
    folder = tmp_path / "coat"
    folder.mkdir()
    (folder / "train.txt").write_bytes(TRAIN)
    with pytest.raises(DataUnavailable, match=r"coat: test.txt is not at .*coat/test.txt"):
        datasets.load("coat")
    (folder / "test.txt").write_bytes(TEST + b"4 4\n")
    with pytest.raises(CorruptData, match=r"test.txt is 16 bytes .* expected 12 bytes"):
        datasets.load("coat")
    (folder / "test.txt").write_bytes(TEST)
    assert datasets.load("coat").test.nnz == 3
    monkeypatch.delenv("SPECREC_DATA")
    assert datasets.load("coat", folder=folder).test.nnz == 3
    assert list(datasets.fetch("coat", folder=folder)) == ["train.txt", "test.txt"]
    assert not asked


def test_validation_is_carved_by_seed(tmp_path):
    lists = "".join(f"{u} {' '.join(map(str, range(20)))}\n" for u in range(3))
    write(tmp_path, **{"train.txt": lists, "test.txt": "0 20\n1 20\n"})
    first, second = (datasets.load("globo", folder=tmp_path, seed=s) for s in (0, 1))
    assert np.diff(first.validation.indptr).tolist() == [2, 2, 2]
    assert pairs(first.validation) != pairs(second.validation)
    assert pairs(first.test) == pairs(second.test)
    assert first.checksum == second.checksum and first.version == second.version


def test_split_here_does_not_depend_on_seed(tmp_path):
    ratings = "".join(f"{u},{i},5,0\n" for u in range(4) for i in range(31))
    write(tmp_path, **{"ratings.csv": "userId,movieId,rating,timestamp\n" + ratings})
    first, second = (datasets.load("ml-20m", folder=tmp_path, seed=s) for s in (0, 1))
    assert np.diff(first.test.indptr).tolist() == [6] * 4
    assert pairs(first.test) == pairs(second.test)
    assert pairs(first.validation) != pairs(second.validation)


# The data sets that have to be asked for


def everything(data):
    return sorted(
        source_pairs(data) + source_pairs(data, "validation") + source_pairs(data, "test")
    )


@pytest.mark.parametrize("name", datasets.RESTRICTED)
def test_without_files_the_error_says_what_to_do(name, monkeypatch, tmp_path):
    entry = datasets.info(name)
    monkeypatch.setenv("SPECREC_DATA", str(tmp_path))
    for call in (datasets.load, datasets.fetch):
        with pytest.raises(DataUnavailable) as caught:
            call(name)
        said = str(caught.value)
        assert all(file in said for file in entry.files)
        assert entry.source in said and entry.terms in said
        assert f"$SPECREC_DATA/{name}/" in said and str(tmp_path / name) in said
    assert not datasets.available(name)
    monkeypatch.delenv("SPECREC_DATA")
    with pytest.raises(DataUnavailable, match="no folder is named"):
        datasets.load(name)


def test_yelp_eals_from_its_split_and_from_all_ratings(tmp_path):
    header = "user ,item\n"
    write(
        tmp_path,
        **{"train.csv": header + "0,0\n0,1\n0,1\n1,2\n", "test.csv": header + "0,1\n1,0\n"},
    )
    split = datasets.load("yelp-eals", folder=tmp_path, validation=0)
    assert source_pairs(split) == [(0, 0), (0, 1), (1, 2)]
    assert split.dropped["duplicate train pairs"] == 1
    (tmp_path / "train.csv").unlink()
    # the same rows: (0, 1) three times, of which one is test
    rows = [(0, 1), (0, 0), (1, 2), (0, 1), (1, 0), (0, 1)]
    write(
        tmp_path, **{"yelp.rating": "".join(f"{u}\t{i}\t5\t{t}\n" for t, (u, i) in enumerate(rows))}
    )
    rebuilt = datasets.load("yelp-eals", folder=tmp_path, validation=0)
    assert source_pairs(rebuilt) == source_pairs(split)
    assert rebuilt.dropped == split.dropped
    write(tmp_path, **{"test.csv": header + "0,1\n7,7\n"})
    with pytest.raises(ValueError, match=r"1 rows are not in yelp\.rating"):
        datasets.load("yelp-eals", folder=tmp_path)


def test_globo(tmp_path):
    write(tmp_path, **{"train.txt": "0 4 4 7\n2 7\n", "test.txt": "0 9\n1\n2 4\n"})
    data = datasets.load("globo", folder=tmp_path, validation=0)
    assert source_pairs(data) == [(0, 4), (0, 7), (2, 7)]
    assert data.dropped["duplicate train pairs"] == 1
    assert data.dropped["users listed without items"] == 1


def test_yahoo_r3_keeps_ratings_of_four_and_five(tmp_path):
    write(
        tmp_path,
        **{
            "ydata-ymusic-rating-study-v1_0-train.txt": "1\t14\t5\n1\t35\t1\n2\t46\t4\n",
            "ydata-ymusic-rating-study-v1_0-test.txt": "1\t49\t1\n2\t14\t5\n",
        },
    )
    data = datasets.load("yahoo-r3", folder=tmp_path, validation=0)
    assert source_pairs(data) == [(1, 14), (2, 46)] and source_pairs(data, "test") == [(2, 14)]
    assert data.dropped["rated below 4"] == 2
    write(tmp_path, **{"train.txt": "0 13\n1 45\n", "test.txt": "1 13\n"})
    assert source_pairs(datasets.load("yahoo-r3", folder=tmp_path, validation=0))[0] == (0, 13)


def test_modcloth(tmp_path):
    ids = (("9", 7), ("9", 8), ("", 7), (None, 8), ("9", None))
    rows = [{"user_id": u, "item_id": i, "quality": 5} for u, i in ids]
    body = gzip.compress("\n".join(map(json.dumps, rows)).encode())
    write(tmp_path, **{"modcloth_final_data.json.gz": body})
    data = datasets.load("modcloth", folder=tmp_path)
    assert everything(data) == [("9", "7"), ("9", "8")]
    assert data.dropped["pairs without a user or item id"] == 3


def test_douban_28(tmp_path):
    text = (
        "ID,Movie_Name_EN,Movie_Name_CN,Crawl_Date,Number,Username,Date,Star,Comment,Like\n"
        '0,Avengers Age of Ultron,复仇者联盟2,2017-01-22,1,然潘,2015-05-13,3,"好, ""好""\n看",2\n'
        "1,Zootopia,疯狂动物城,2017-01-22,2,NA,2015-04-24,2,,0\n"
    )
    data = datasets.load("douban-28", folder=write(tmp_path, **{"DMSC.csv": text}))
    assert everything(data) == [("NA", "Zootopia"), ("然潘", "Avengers Age of Ultron")]


def test_aotm_2011(tmp_path):
    mixes = [
        {"mix_id": 7, "filtered_lists": [["SOA", "SOB"], ["SOC"]]},
        {"mix_id": 9, "filtered_lists": []},
        {"mix_id": 11, "filtered_lists": [["SOB", "SOB"]]},
    ]
    write(tmp_path, **{"aotm2011_playlists.json": json.dumps(mixes)})
    data = datasets.load("aotm-2011", folder=tmp_path)
    assert everything(data) == [(0, "SOA"), (0, "SOB"), (0, "SOC"), (2, "SOB")]
    assert data.dropped["duplicate pairs"] == 1
    assert len(datasets.read("aotm-2011", folder=tmp_path).train.users) == 5


def test_cornell_yes_complete_joins_both_files_and_drops_short_playlists(tmp_path):
    head = "0 1 2 3 4 \n1 1 1 1 1 \n"
    train, test = head + "0 1 2 3 \n0 1 2 \n\n4 4 4 4 \n", head + "1 2 3 4 0 \n"
    data = datasets.load(
        "cornell-yes-complete", folder=write(tmp_path, **{"train.txt": train, "test.txt": test})
    )
    assert everything(data) == sorted(
        [(0, i) for i in range(4)] + [(1, 4)] + [(2, i) for i in range(5)]
    )
    assert data.dropped == {
        "empty lines": 1,
        "playlists of fewer than 4 songs": 1,
        "duplicate pairs": 3,
    }


def test_lastfm_360k(tmp_path):
    rows = ["u1\tmbid-a\tbetty blowtorch\t2137", 'u1\t\tdie "Ärzte\t1099', "u2\tmbid-a\tb\t3"]
    write(tmp_path, **{"usersha1-artmbid-artname-plays.tsv": "\n".join(rows) + "\n"})
    data = datasets.load("lastfm-360k", folder=tmp_path)
    assert everything(data) == [("u1", 'die "Ärzte'), ("u1", "mbid-a"), ("u2", "mbid-a")]
    assert data.dropped["artists without MBID, known by name"] == 1


@pytest.mark.parametrize("name", ["ml-20m", "ml-25m"])
def test_movielens_ratings(name, tmp_path):
    text = "userId,movieId,rating,timestamp\n1,296,0.5,1147880044\n1,306,3.5,1\n4,296,5.0,2\n"
    data = datasets.load(name, folder=write(tmp_path, **{"ratings.csv": text}))
    assert everything(data) == [(1, 296), (1, 306), (4, 296)]


def test_spotify_mpd(tmp_path):
    for k, (pid, tracks) in enumerate([(0, ["a", "b"]), (1000, ["b", "c"])]):
        playlist = {"pid": pid, "tracks": [{"track_uri": f"spotify:track:{t}"} for t in tracks]}
        body = json.dumps({"info": {}, "playlists": [playlist]})
        write(tmp_path, **{f"mpd.slice.{k}000-{k}999.json": body})
    data = datasets.load("spotify-mpd", folder=tmp_path)
    assert [(u, i[-1]) for u, i in everything(data)] == [
        (0, "a"), (0, "b"), (1000, "b"), (1000, "c"),
    ]  # fmt: skip
    first = data.checksum
    (tmp_path / "mpd.slice.1000-1999.json").unlink()
    assert datasets.load("spotify-mpd", folder=tmp_path).checksum != first


def test_deezer(tmp_path):
    text = "playlist,track\np1,t9\np1,t8\np2,t9\n"
    data = datasets.load("deezer", folder=write(tmp_path, **{"playlists.csv": text}))
    assert everything(data) == [("p1", "t8"), ("p1", "t9"), ("p2", "t9")]


def test_criteo_codes_counts_and_rare_values(tmp_path):
    frequent = "\t".join(["1", "5"] + [""] * 12 + ["68fd1e64"] + ["x"] * 25)
    other = "\t".join(["0", "-1"] + [""] * 12 + ["rare"] + ["x"] * 25)
    text = "\n".join([frequent] * 10 + [other] * 9 + ["1\tshort"]) + "\n"
    log = datasets.load("criteo", folder=write(tmp_path, **{"train.txt": text}))
    assert log.codes.shape == (19, 39) and log.fields[0] == "I1" and log.fields[13] == "C1"
    assert log.labels.tolist() == [1] * 10 + [0] * 9
    assert log.codes[:, 0].tolist() == [1] * 10 + [0] * 9  # seen 10 and 9 times
    assert log.codes[:, 13].tolist() == [1] * 10 + [0] * 9
    assert (log.codes[:, 1] == 1).all()  # missing is a value like any other
    assert log.cardinalities.tolist() == [2] * 39
    assert log.dropped == {"rows with a wrong number of columns": 1}
    assert log.click_rate == pytest.approx(10 / 19)


def test_criteo_number():
    expected = {"": "NULL", "-2": "-4", "0": "-2", "2": "0", "3": "1", "8": "4", "1000": "47"}
    assert {value: clicks.criteo_number(value) for value in expected} == expected


@pytest.mark.parametrize("zipped", [False, True])
def test_avazu(tmp_path, zipped):
    fields = ["hour", "C1", "banner_pos", *(f"f{k}" for k in range(19))]
    rows = [f"{k},{k % 2},14102100," + ",".join(["a"] * 20) + f",d{k // 4}" for k in range(10)]
    text = "id,click," + ",".join(fields) + "\n" + "\n".join(rows) + "\n"
    body = text.encode()
    write(tmp_path, **({"train.gz": gzip.compress(body)} if zipped else {"train.csv": body}))
    log = datasets.load("avazu", folder=tmp_path)
    assert log.fields == tuple(fields) and log.codes.dtype == np.int32
    assert log.codes[:, -1].tolist() == [1] * 4 + [2] * 4 + [0] * 2
    assert log.cardinalities[-1] == 3
    write(tmp_path, **{"train.csv": "id,click,hour\n"})
    with pytest.raises(ValueError, match=r"train.csv: header .* expected id,click and 22 fields"):
        datasets.load("avazu", folder=tmp_path)


# Readers


def test_lists_reject_what_is_no_id(tmp_path):
    for bad, shown in (
        (b"0 1\n1 x2 3\n", "1 x2 3"),
        (b"0 1\n1 -2\n", "1 -2"),
        (b"0 1\n1 2.5\n", "1 2.5"),
    ):
        path = tmp_path / "train.txt"
        path.write_bytes(bad)
        if b"-" in bad:
            with pytest.raises(ValueError, match="item id -2, expected non-negative"):
                datasets.load("globo", folder=write(tmp_path, **{"test.txt": "0 1\n"}))
        else:
            with pytest.raises(ValueError, match=f"train.txt, line 2: '{re.escape(shown)}'"):
                readers.lists(path)


def test_tables_by_tabs_take_quotes_and_hashes_as_they_are(tmp_path):
    rows = ['u1\ta\t"Weird Al"\t1', 'u1\tb\t"68\t2', "u2\tc\t#1\t3"]
    path = write(tmp_path, **{"plays.tsv": "\n".join(rows) + "\n"}) / "plays.tsv"
    table = readers.table(path, "\t", 0, 2, header=False, integers=False)
    assert table.users.tolist() == ["u1", "u1", "u2"]
    assert table.items.tolist() == ['"Weird Al"', '"68', "#1"]


def test_tables_reject_what_is_no_id(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("user,item\n0,1\n0,\n")
    with pytest.raises(ValueError, match=r"train.csv, line 3: '', expected an integer id"):
        readers.table(path)
    path.write_text("user,item\n0,1\n0,1.5\n")
    with pytest.raises(ValueError, match=r"train.csv, line 3: '1.5', expected an integer id"):
        readers.table(path)
    path.write_text("")
    with pytest.raises(ValueError, match=r"train.csv: not the delimited text expected"):
        readers.table(path)


class Exploit:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([[1, Exploit()]], "holds builtins.print, which is refused"),
        ([[1, 2.5]], "playlist 0 holds a float"),
        ([[1, True]], "playlist 0 holds a bool"),
        ([["1", "x"]], "playlist 0 holds a str"),
        ({"a": [1]}, "expected a list of lists"),
        ([[1], (2,)], "expected a list of lists"),
    ],
)
def test_pickles_hold_lists_of_ids_or_are_refused(tmp_path, capsys, content, expected):
    path = tmp_path / "p.pickle"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=re.escape(expected)):
        readers.pickled_playlists(path)
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize("damage", [b"", b"not a pickle", pickle.dumps([[1, 2]])[:-2]])
def test_damaged_pickles_are_refused(tmp_path, damage):
    path = tmp_path / "p.pickle"
    path.write_bytes(damage)
    with pytest.raises(ValueError, match=r"p.pickle: not a pickle of lists of song ids"):
        readers.pickled_playlists(path)


def test_pickled_playlists_keep_order_and_repeats(tmp_path):
    path = tmp_path / "p.pickle"
    path.write_bytes(pickle.dumps([["12", "3", "12"], [], [7]]))
    table = readers.pickled_playlists(path)
    assert table.users.tolist() == [0, 0, 0, 2] and table.items.tolist() == [12, 3, 12, 7]


def test_archive_members(tmp_path):
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, body in (("d/train.txt", TRAIN), ("d/test.txt", TEST)):
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    source = readers.lists_in_archive(path, ("d/train.txt", "d/test.txt"))
    assert source.train.items.tolist() == [1, 3, 1, 5, 0]
    assert source.test is not None and source.test.users.tolist() == [0, 1, 3]
    with pytest.raises(ValueError, match=r"a.tar.gz: not the archive expected: .*missing"):
        readers.lists_in_archive(path, ("d/missing",))
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"a.tar.gz: not the archive expected"):
        readers.lists_in_archive(path, ("d/train.txt",))


def test_adjacency_must_be_bipartite(tmp_path):
    rated = sp.csr_matrix(np.array([[1, 0, 1], [0, 1, 0]]))
    lists = tmp_path / "test.txt"
    lists.write_bytes(b"0 1\n")
    sp.save_npz(tmp_path / "a.npz", sp.bmat([[None, rated], [rated.T, None]]).tocsr())
    source = readers.adjacency_and_lists([tmp_path / "a.npz", lists], n_users=2)
    got = sorted(zip(source.train.users.tolist(), source.train.items.tolist(), strict=True))
    assert got == [(0, 0), (0, 2), (1, 1)]
    with pytest.raises(ValueError, match="expected exactly half"):
        readers.adjacency_and_lists([tmp_path / "a.npz", lists], n_users=3)


# The real data, where it is at hand: users, items, train and test pairs, and what was found

MEASURED = {
    "citeulike": (5551, 16980, 166003, 44512, {"duplicate train pairs": 22}),
    "gowalla": (29858, 40981, 810128, 217242, {}),
    "yelp2018": (31668, 38048, 1237259, 324147, {}),
    "ml-1m": (6040, 3706, 800167, 200042, {"item ids without any pair, closed up": 246}),
    "coat": (290, 295, 1905, 860, {"test pairs also in train (kept, cannot be hit)": 91}),
    "douban-movie": (2848, 39586, 715909, 178978, {"users without train pairs (kept)": 18}),
    "ml-100k": (943, 1682, 100000, None, {}),
    "ml-latest-small": (610, 9724, 100836, None, {}),
    "lastfm-hetrec": (1892, 17632, 92834, None, {}),
    "lastfm-kgat": (23566, 46720, 423635, None, {"duplicate pairs": 616336 - 423635}),
    "cornell-yes1k": (1000, 25179, 129507, None, {"duplicate pairs": 176510 - 129507}),
}


def real(name: str, **options):
    state = datasets.available(name, download=False)
    if not state:
        pytest.skip(f"{name} is not at hand (set SPECREC_DATA, or load it once): {state.reason}")
    return datasets.load(name, **options)


@pytest.mark.parametrize("name", MEASURED)
def test_measured_statistics(name):
    users, items, train, test, found = MEASURED[name]
    data = real(name, validation=0)
    facts = data.statistics
    assert (facts["users"], facts["items"]) == (users, items)
    if test is None:  # split here: floor(0.2 n) of each user is test
        assert facts["train"] + facts["test"] == train
        n = np.diff((data.train + data.test).indptr)
        assert np.diff(data.test.indptr).tolist() == (n // 5).tolist()
    else:
        assert (facts["train"], facts["test"]) == (train, test)
    assert {reason: data.dropped.get(reason) for reason in found} == found


def test_citeulike_as_the_paper_has_it():
    data = real("citeulike")
    assert real("citeulike", validation=0).statistics["cold items"] == 46
    assert data.dropped["test pairs also in train (kept, cannot be hit)"] == 11
    n = np.diff((data.train + data.validation).indptr)
    assert np.diff(data.validation.indptr).sum() == (n // 10).sum()


def test_source_keeps_multiplicity_and_titles_can_be_found():
    data = real("cornell-yes1k", validation=0)
    source = datasets.read("cornell-yes1k")
    assert len(source.train.users) == 176510
    files = datasets.fetch("cornell-yes1k")
    titles = files["song_hash.txt"].read_text().splitlines()
    assert int(titles[data.item_ids[5]].split()[0]) == data.item_ids[5]


def test_singular_values_of_the_paper_are_fetchable():
    state = datasets.available("spiky-official", download=False)
    if not state:
        pytest.skip(f"spiky-official is not at hand: {state.reason}")
    for path in datasets.fetch("spiky-official").values():
        values = np.load(path, allow_pickle=False)
        assert values.shape == (128,) and (np.diff(values) <= 0).all()
    with pytest.raises(ValueError, match="holds no user-item interactions"):
        datasets.load("spiky-official")
