"""The register of data sets: what each is, where it comes from, on what terms, how it is split.

Files that can be fetched freely stand in ``registry.csv`` with their pinned address and SHA-256.
The others have to be put into a folder by you; `Info.source` says where to get them.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from pathlib import Path

from specrec_core import readers
from specrec_core.readers import Reader

OFFICIAL = "official split"
RANDOM = "random 80/20 per user, seed 0"


@dataclass(frozen=True)
class File:
    """One freely fetchable file: its pinned address, length in bytes, SHA-256 and terms."""

    dataset: str
    name: str
    bytes: int
    sha256: str
    url: str
    terms: str


@dataclass(frozen=True)
class Layout:
    """Files (names or patterns with ``*``) that together hold the interactions, and their reader.

    ``read`` is None for side files, which hold no user-item interactions.
    """

    files: tuple[str, ...]
    read: Reader | None = None


@dataclass(frozen=True)
class Info:
    """What is known of one data set.

    Attributes
    ----------
    title, source, citation
        Name in words, address of the origin, BibTeX keys.
    terms
        Terms of use as far as the origin states them.
    version
        Origin and commit where there is one, then the split.
    layouts
        The sets of files that it can be read from; the first is the usual one.
    files
        All files: for a free data set with titles and other side files.
    free
        Whether the files can be fetched without asking anybody.
    clicks
        Whether it is a click log (`specrec_core.clicks`), not user-item interactions.
    """

    name: str
    title: str
    source: str
    citation: tuple[str, ...]
    version: str
    layouts: tuple[Layout, ...]
    terms: str
    files: tuple[str, ...]
    free: bool
    clicks: bool = False


@cache
def files() -> dict[str, dict[str, File]]:
    """The freely fetchable files, by data set and file name."""
    table: dict[str, dict[str, File]] = {}
    with resources.files("specrec_core").joinpath("registry.csv").open(encoding="utf-8") as text:
        for row in csv.DictReader(text):
            file = File(
                row["dataset"], row["file"], int(row["bytes"]), row["sha256"], row["url"],
                row["terms"],
            )  # fmt: skip
            table.setdefault(file.dataset, {})[file.name] = file
    return table


def _free(
    name: str, title: str, citation: tuple[str, ...], version: str, needed: tuple[str, ...],
    read: Reader | None,
) -> Info:  # fmt: skip
    known = files()[name]
    first = known[needed[0]]
    return Info(
        name=name,
        title=title,
        source="/".join(first.url.split("/")[:5]).replace("raw.githubusercontent", "github"),
        citation=citation,
        version=version,
        layouts=(Layout(needed, read),),
        terms=first.terms,
        files=tuple(known),
        free=True,
    )


def _asked(
    name: str, title: str, citation: tuple[str, ...], version: str, source: str, terms: str,
    *layouts: Layout, clicks: bool = False,
) -> Info:  # fmt: skip
    return Info(name, title, source, citation, version, layouts, terms, layouts[0].files,
                free=False, clicks=clicks)  # fmt: skip


_LISTS = ("train.txt", "test.txt")
_tabs = partial(readers.table, separator="\t")
_song_ratings = partial(readers.table, separator="\t", header=False, minimum=(2, 4.0))
_film_fans = partial(readers.table, user=5, item=1, integers=False)
_GROUPLENS = "GroupLens: research use, no redistribution without permission"


def _yelp2018(paths: Sequence[Path]) -> readers.Source:
    return readers.lists_in_archive(paths[0], ("yelp2018/train.txt", "yelp2018/test.txt"))


@cache
def register() -> dict[str, Info]:
    """Every data set by name, those that hold no interactions included."""
    two_lists, whole = readers.split_in_two(readers.lists), readers.unsplit
    ratings = Layout(("ratings.csv",), whole(readers.table))
    entries = [
        _free(
            "citeulike", "CiteULike-a, researchers' paper libraries", ("wang2013collaborative",),
            f"directspec@21e0ebe, {OFFICIAL}", ("train.csv", "test.csv"),
            readers.split_in_two(readers.table),
        ),
        _free(
            "gowalla", "Gowalla check-ins, 10-core", ("cho2011friendship", "he2020lightgcn"),
            f"lightgcn@947ca2b, {OFFICIAL}", ("s_adj_mat.npz", "test.txt"),
            partial(readers.adjacency_and_lists, n_users=29_858),
        ),
        _free(
            "yelp2018", "Yelp 2018 reviews, 10-core", ("he2020lightgcn",),
            f"bsl@89e0267, {OFFICIAL}", ("yelp2018.tar.gz",), _yelp2018,
        ),
        _free(
            "ml-1m", "MovieLens 1M", ("harper2015movielens",),
            f"resn@a190a07, {OFFICIAL}", _LISTS, two_lists,
        ),
        _free(
            "ml-100k", "MovieLens 100K", ("harper2015movielens",),
            f"recbole@7b02be5, {RANDOM}", ("ml-100k.inter",), whole(_tabs),
        ),
        _free(
            "ml-latest-small", "MovieLens latest small", ("harper2015movielens",),
            f"muellersen@928dcbd, {RANDOM}", ("ratings.csv",), whole(readers.table),
        ),
        _free(
            "coat", "Coat shopping, test part shown at random", ("schnabel2016recommendations",),
            f"resn@a190a07, {OFFICIAL}", _LISTS, two_lists,
        ),
        _free(
            "douban-movie", "Douban films (not proven to be any paper's Douban)", (),
            f"dvgrl@2cdb4e0, {OFFICIAL}", _LISTS, two_lists,
        ),
        _free(
            "lastfm-hetrec", "Last.fm artists listened to, HetRec 2011", ("cantador2011hetrec",),
            f"mkr@d6bb77c, {RANDOM}", ("user_artists.dat",), whole(_tabs),
        ),
        _free(
            "lastfm-kgat", "Last.fm tracks, the test part of KGAT's set", ("wang2019kgat",),
            f"kgat@c03737b test part, {RANDOM}", ("test.txt",), whole(readers.lists),
        ),
        _free(
            "cornell-yes1k", "1,000 radio playlists of Yes.com (users are playlists)",
            ("chen2012playlist",),
            f"reco-tut-ysr@b8fa9a2, {RANDOM}", ("playlist_test.pickle",),
            whole(readers.pickled_playlists),
        ),
        _free(
            "deezer-friends", "Deezer friendships, Hungary and Romania (edge lists)",
            ("rozemberczki2019gemsec",),
            "gemsec@0938a6c", ("HU_edges.csv", "RO_edges.csv"), None,
        ),
        _free(
            "spiky-official", "Singular values published with the spiky SVD paper",
            ("spiky2023svd",),
            "spiky_svd@23cae04", ("S_aotm.npy", "S_cornell.npy", "S_lastfm.npy"), None,
        ),
        _asked(
            "yelp-eals", "Yelp reviews as in eALS, users and items with at least 10",
            ("he2016fast",), f"directspec, {OFFICIAL}",
            "https://github.com/tanatosuu/directspec (Datasets/yelp/train.csv, test.csv), or "
            "https://github.com/hexiangnan/sigir16-eals (data/yelp.rating) beside that test.csv",
            "Yelp data set terms: academic use, no redistribution",
            Layout(("train.csv", "test.csv"), readers.split_in_two(readers.table)),
            Layout(("yelp.rating", "test.csv"), readers.ratings_less_test),
        ),
        _asked(
            "globo", "Globo.com news", ("moreira2018news",), f"resn, {OFFICIAL}",
            "https://github.com/LIN452/ReSN (data/globo); origin: Globo.com on Kaggle",
            "those of Globo.com on Kaggle, see source; the repository states no licence",
            Layout(_LISTS, two_lists),
        ),
        _asked(
            "yahoo-r3", "Yahoo! Music R3, songs rated 4 or 5, test part drawn at random",
            ("marlin2009collaborative",), f"ratings of 4 and 5, {OFFICIAL}",
            "https://webscope.sandbox.yahoo.com (R3, on application), or the ReSN repository's "
            "train.txt and test.txt",
            "Yahoo Webscope: approved researchers only, no redistribution",
            Layout(_LISTS, two_lists),
            Layout(
                ("ydata-ymusic-rating-study-v1_0-train.txt",
                 "ydata-ymusic-rating-study-v1_0-test.txt"),
                readers.split_in_two(_song_ratings),
            ),
        ),
        _asked(
            "modcloth", "ModCloth clothing fit", ("misra2018decomposing",), f"ucsd, {RANDOM}",
            "https://cseweb.ucsd.edu/~jmcauley/datasets.html (clothing fit data)",
            "see source",
            Layout(
                ("modcloth_final_data.json.gz",),
                whole(partial(readers.json_rows, user="user_id", item="item_id")),
            ),
        ),
        _asked(
            "douban-28", "Douban short comments on 28 films", ("utmhikari2018douban",),
            f"kaggle, {RANDOM}",
            "https://www.kaggle.com/datasets/utmhikari/doubanmovieshortcomments",
            "see source",
            Layout(("DMSC.csv",), whole(_film_fans)),
        ),
        _asked(
            "aotm-2011", "Art of the Mix playlists 2011 (users are playlists)",
            ("mcfee2012hypergraph",), f"aotm2011, {RANDOM}",
            "https://bmcfee.github.io/data/aotm2011.html", "see source",
            Layout(("aotm2011_playlists.json",), whole(readers.aotm_playlists)),
        ),
        _asked(
            "cornell-yes-complete", "Radio playlists of Yes.com, complete (users are playlists)",
            ("chen2012playlist",), f"lme yes_complete, {RANDOM}",
            "https://www.cs.cornell.edu/~shuochen/lme/data_page.html (folder yes_complete)",
            "research use, cite; data of Yes.com and Last.fm, commercial use only with them",
            Layout(_LISTS, readers.lme_playlists),
        ),
        _asked(
            "lastfm-360k", "Last.fm artists of 360,000 users", ("celma2010music",),
            f"lastfm-360K, {RANDOM}",
            "http://ocelma.net/MusicRecommendationDataset/lastfm-360K.html",
            "distributed with permission of Last.fm, non-commercial use",
            Layout(("usersha1-artmbid-artname-plays.tsv",), whole(readers.artist_plays)),
        ),
        _asked(
            "ml-20m", "MovieLens 20M", ("harper2015movielens",), f"grouplens, {RANDOM}",
            "https://grouplens.org/datasets/movielens/20m/", _GROUPLENS, ratings,
        ),
        _asked(
            "ml-25m", "MovieLens 25M", ("harper2015movielens",), f"grouplens, {RANDOM}",
            "https://grouplens.org/datasets/movielens/25m/", _GROUPLENS, ratings,
        ),
        _asked(
            "spotify-mpd", "Spotify Million Playlist Dataset (users are playlists)",
            ("chen2018recsys",), f"mpd, {RANDOM}",
            "https://www.aicrowd.com/challenges/spotify-million-playlist-dataset-challenge "
            "(no longer for download there: ask Spotify Research)",
            "non-commercial research, no redistribution: see source",
            Layout(("mpd.slice.*.json",), readers.mpd_slices),
        ),
        _asked(
            "deezer", "Deezer playlists of the spiky SVD paper", ("spiky2023svd",),
            f"playlist,track export, {RANDOM}",
            "nowhere: internal to Deezer, never published; a CSV of your own with the header "
            "playlist,track is read",
            "not released",
            Layout(("playlists.csv",), whole(partial(readers.table, integers=False))),
        ),
        _asked(
            "criteo", "Criteo display advertising, Kaggle 2014", ("criteo2014kaggle",),
            "kaggle, not split", "https://www.kaggle.com/c/criteo-display-ad-challenge",
            "see source", Layout(("train.txt",)), clicks=True,
        ),
        _asked(
            "avazu", "Avazu click-through rates, Kaggle 2014", ("avazu2014kaggle",),
            "kaggle, not split", "https://www.kaggle.com/c/avazu-ctr-prediction",
            "see source", Layout(("train.csv",)), Layout(("train.gz",)), clicks=True,
        ),
    ]  # fmt: skip
    return {entry.name: entry for entry in entries}
