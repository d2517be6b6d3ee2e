"""Truncated SVD, NMF and word2vec, against libraries, dense algebra and planted structure."""

import hashlib
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.extmath import randomized_svd

from specrec_core.factorisation import METHODS, Decomposition, nmf, truncated_svd, word2vec

ROOT = Path(__file__).resolve().parents[1]


def sparse(n: int, m: int, density: float = 0.2, seed: int = 0) -> sp.csr_array:
    rng = np.random.default_rng(seed)
    return sp.csr_array(rng.random((n, m)) * (rng.random((n, m)) < density))


def symmetric(n: int = 60, seed: int = 0) -> np.ndarray:
    """Non-negative with zero diagonal, as a PPMI matrix is: its eigenvalues have both signs."""
    half = np.triu(sparse(n, n, 0.3, seed).toarray(), 1)
    return half + half.T


def leading(matrix: np.ndarray, f: int) -> tuple[np.ndarray, np.ndarray]:
    """The f eigenvalues of largest absolute value of a symmetric matrix, and M cut to them."""
    values, vectors = np.linalg.eigh(matrix)
    order = np.argsort(-np.abs(values))[:f]
    values, vectors = values[order], vectors[:, order]
    return values, (vectors * values) @ vectors.T


# ----------------------------------------------------------------------------- truncated SVD


@pytest.mark.parametrize("shape", [(150, 90), (90, 150), (120, 120)])
@pytest.mark.parametrize("f", [5, 30, 90])  # scikit-learn takes 7 power iterations, or 4
@pytest.mark.parametrize("dense", [True, False])
def test_randomized_is_that_of_scikit_learn(shape, f, dense):
    matrix = sparse(*shape)
    matrix = matrix.toarray() if dense else matrix
    for seed in (0, 3):
        u, s, vt = randomized_svd(matrix, f, random_state=seed)
        found = truncated_svd(matrix, f, seed=seed)
        np.testing.assert_allclose(found.s, s, rtol=1e-11)
        np.testing.assert_allclose(found.u, u, atol=1e-9)
        np.testing.assert_allclose(found.v, vt.T, atol=1e-9)


@pytest.mark.parametrize(("oversamples", "power_iterations"), [(0, 0), (3, 1), (10, 2), (20, 3)])
def test_options_of_randomized_are_those_of_scikit_learn(oversamples, power_iterations):
    matrix = sparse(150, 90)
    u, s, _ = randomized_svd(
        matrix, 8, n_oversamples=oversamples, n_iter=power_iterations, random_state=0
    )
    found = truncated_svd(matrix, 8, oversamples=oversamples, power_iterations=power_iterations)
    np.testing.assert_allclose(found.s, s, rtol=1e-11)
    np.testing.assert_allclose(found.u, u, atol=1e-9)


@pytest.mark.parametrize("shape", [(60, 40), (40, 60), (50, 50)])
@pytest.mark.parametrize("f", [1, 7, 39])
def test_arpack_agrees_with_the_dense_svd(shape, f):
    matrix = sparse(*shape)
    u, s, vt = np.linalg.svd(matrix.toarray(), full_matrices=False)
    flip = np.sign(u[np.abs(u).argmax(axis=0), np.arange(len(s))])
    found = truncated_svd(matrix, f, method="arpack")
    np.testing.assert_allclose(found.s, s[:f], atol=1e-8 * s[0])
    np.testing.assert_allclose(found.u, (u * flip)[:, :f], atol=1e-8)
    np.testing.assert_allclose(found.v, (vt.T * flip)[:, :f], atol=1e-8)


def test_randomized_finds_the_same_where_the_spectrum_falls_fast():
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((n, 30)))[0] for n in (80, 70))
    matrix = left * 0.5 ** np.arange(30) @ right.T
    fast, exact = (truncated_svd(matrix, 6, method=method) for method in METHODS)
    np.testing.assert_allclose(exact.s, 0.5 ** np.arange(6), rtol=1e-10)
    np.testing.assert_allclose(fast.s, exact.s, rtol=1e-10)
    np.testing.assert_allclose(fast.embedding(), exact.embedding(), atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_factors_are_orthonormal_float64_and_the_same_bytes_again(method):
    matrix = sparse(200, 80)
    found, again = (truncated_svd(matrix, 10, method=method, seed=5) for _ in range(2))
    for name in ("u", "s", "v"):
        array = getattr(found, name)
        assert array.dtype == np.float64 and array.flags.c_contiguous
        assert array.tobytes() == getattr(again, name).tobytes()
    np.testing.assert_allclose(found.u.T @ found.u, np.eye(10), atol=1e-12)
    np.testing.assert_allclose(found.v.T @ found.v, np.eye(10), atol=1e-12)
    assert (np.diff(found.s) <= 0).all()
    np.testing.assert_allclose(np.linalg.norm(found.embedding(), axis=0), found.s, rtol=1e-12)
    other = truncated_svd(matrix, 10, method=method, seed=6)
    assert other.u.tobytes() != found.u.tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_the_kind_of_matrix_does_not_matter_and_it_is_left_alone(method):
    counts = sparse(50, 30)
    counts.data = np.ceil(counts.data * 5)
    before = counts.toarray()
    expected = truncated_svd(counts, 4, method=method).embedding()
    given = (
        sp.coo_matrix(counts), sp.csc_array(counts.astype(np.int32)), before, before.astype("f4"),
        np.asfortranarray(before, dtype=np.int64),
    )  # fmt: skip
    for matrix in given:
        found = truncated_svd(matrix, 4, method=method).embedding()
        np.testing.assert_allclose(found, expected, atol=1e-10)
    assert (counts.toarray() == before).all()


# -------------------------------------------- facts on symmetric matrices, and the decomposition


def test_signs_are_those_of_the_eigenvalues():
    matrix = symmetric()
    values, _ = leading(matrix, 20)
    found = truncated_svd(sp.csr_array(matrix), 20, method="arpack")
    np.testing.assert_allclose(found.s, np.abs(values), rtol=1e-10)
    assert found.signs.tolist() == np.sign(values).tolist()
    assert {-1.0, 1.0} == set(found.signs.tolist()), "the matrix should be indefinite"
    np.testing.assert_allclose(found.v, found.u * found.signs, atol=1e-8)


def test_truncated_matrix_and_its_rows_from_the_embedding():
    for seed in range(3):
        matrix, f = symmetric(seed=seed), 18
        _, truncated = leading(matrix, f)
        found = truncated_svd(sp.csr_array(matrix), f, method="arpack")
        e, x = found.embedding(), found.embedding(exponent=0.5)
        np.testing.assert_allclose(e / found.s * found.signs @ e.T, truncated, atol=1e-8)
        np.testing.assert_allclose(e @ e.T, truncated @ truncated, atol=1e-8)
        norms = np.linalg.norm(truncated, axis=1)
        np.testing.assert_allclose(np.linalg.norm(e, axis=1), norms, atol=1e-8)
        np.testing.assert_allclose(x * found.signs @ x.T, truncated, atol=1e-8)
        assert np.abs(x @ x.T - truncated).max() > 0.01  # without the signs it is wrong


def test_without_negative_eigenvalues_the_products_of_roots_are_the_matrix():
    half = sparse(40, 25).toarray()
    matrix = half @ half.T
    found = truncated_svd(matrix, 12, method="arpack")
    x = found.embedding(exponent=0.5)
    assert (found.signs == 1).all()
    np.testing.assert_allclose(x @ x.T, leading(matrix, 12)[1], atol=1e-8)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_vectors_are_collinear_where_rows_are_proportional(exponent):
    # Every third item is a multiple of one before: rows in proportion, over all columns.
    base, theta = symmetric(30), np.random.default_rng(1).uniform(0.5, 3, 40)
    parent = np.concatenate([np.arange(30), np.arange(0, 30, 3)])
    matrix = theta[:, None] * base[np.ix_(parent, parent)] * theta
    found = truncated_svd(matrix, 15, method="arpack")
    e = found.embedding(exponent=exponent)
    unit = e / np.linalg.norm(e, axis=1, keepdims=True)
    cosine = unit @ unit.T
    same = parent[:, None] == parent
    np.testing.assert_allclose(cosine[same], 1, atol=1e-9)
    assert np.abs(cosine[~same]).max() < 0.999
    ratio = np.linalg.norm(e, axis=1)[30:] / np.linalg.norm(e, axis=1)[parent[30:]]
    np.testing.assert_allclose(ratio, theta[30:] / theta[parent[30:]], rtol=1e-8)


def test_row_sums_are_those_of_the_truncated_matrix():
    found = truncated_svd(sparse(50, 30), 9, method="arpack")
    for f in (1, 4, 9, None):
        dense = (found.u * found.s)[:, :f] @ found.v.T[:f]
        np.testing.assert_allclose(found.row_sums(f), dense.sum(axis=1), atol=1e-12)
    matrix = symmetric()
    whole = truncated_svd(matrix, 60)
    np.testing.assert_allclose(whole.row_sums(), matrix.sum(axis=1), rtol=1e-10)


def test_embedding_cuts_columns_and_scales_them():
    found = truncated_svd(sparse(50, 30), 9)
    assert (found.embedding(4) == found.embedding()[:, :4]).all()
    assert (found.embedding(exponent=0) == found.u).all()
    assert (found.embedding() == found.u * found.s).all()
    np.testing.assert_allclose(found.embedding(3, 0.5), found.u[:, :3] * np.sqrt(found.s[:3]))


def test_decomposition_rejects():
    found = truncated_svd(sparse(50, 30), 9)
    for f in (0, 10):
        with pytest.raises(ValueError, match=f"f: {f}, expected 1 to 9"):
            found.embedding(f)
        with pytest.raises(ValueError, match=f"f: {f}, expected 1 to 9"):
            found.row_sums(f)
    with pytest.raises(ValueError, match="exponent: -1, expected at least 0"):
        found.embedding(exponent=-1)
    with pytest.raises(ValueError, match="u, v: 50 and 30 rows"):
        _ = found.signs
    for u, s, v in [
        (found.u, found.s[:3], found.v),
        (found.u, found.s, found.v.T),
        (found.u[0], found.s, found.v),
    ]:
        with pytest.raises(ValueError, match=r"u, s, v: shapes .*, expected \(n, f\)"):
            Decomposition(u, s, v)


@pytest.mark.parametrize(
    ("matrix", "f", "options", "expected"),
    [
        (sparse(9, 6), 7, {}, r"f: 7, expected 1 to 6 with 'randomized' .* \(9, 6\)"),
        (sparse(9, 6), 6, {"method": "arpack"}, "f: 6, expected 1 to 5 with 'arpack'"),
        (sparse(9, 6), 0, {}, "f: 0, expected 1 to 6"),
        (sparse(9, 6), 2, {"method": "lanczos"}, "method: 'lanczos', expected one of randomized"),
        (sparse(9, 6), 2, {"oversamples": -1}, "oversamples: -1, expected at least 0"),
        (sparse(9, 6), 2, {"power_iterations": -1}, "power_iterations: -1, expected at least 0"),
        (np.ones(4), 1, {}, r"matrix: shape \(4,\), expected \(n, m\)"),
        (np.ones((0, 4)), 1, {}, r"matrix: shape \(0, 4\)"),
        (np.full((3, 3), np.nan), 1, {}, "matrix: has NaN or infinite"),
        (np.ones((3, 3)) * 1j, 1, {}, "matrix: dtype complex128, expected real"),
        (sp.csr_array((3, 3)), 1, {"method": "arpack"}, "matrix: is zero"),
    ],
)
def test_truncated_svd_rejects(matrix, f, options, expected):
    with pytest.raises(ValueError, match=expected):
        truncated_svd(matrix, f, **options)


# --------------------------------------------------------------------------------------- NMF


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # the root of an error of -0
def test_nmf_of_planted_blocks_is_the_norms_of_the_rows():
    # Communities that never meet: W has one weight a row, and it is the norm of the row of M.
    rng = np.random.default_rng(0)
    label, theta = np.arange(90) % 3, rng.uniform(0.2, 2, 90)
    matrix = np.outer(theta, theta) * (label[:, None] == label)
    w = nmf(sp.csr_array(matrix), 3, tolerance=1e-8)
    assert w.shape == (90, 3) and w.dtype == np.float64 and w.min() >= 0
    found = w.argmax(axis=1)
    assert len({(a, b) for a, b in zip(label.tolist(), found.tolist(), strict=True)}) == 3
    norms = np.linalg.norm(matrix, axis=1)
    np.testing.assert_allclose(w.max(axis=1), norms, rtol=1e-5)
    assert np.sort(w, axis=1)[:, :2].max() < 1e-5 * norms.max()


def test_nmf_is_that_of_scikit_learn_with_unit_rows_of_h():
    matrix = sp.csr_array(symmetric())
    w = nmf(matrix, 5, seed=1, iterations=2000)
    model = NMF(5, init="nndsvda", random_state=1, max_iter=2000)
    w_there = model.fit_transform(matrix)
    unit = model.components_ / np.linalg.norm(model.components_, axis=1, keepdims=True)
    np.testing.assert_allclose(w @ unit, w_there @ model.components_, rtol=1e-9, atol=1e-12)
    assert w.tobytes() == nmf(matrix, 5, seed=1, iterations=2000).tobytes()
    dense = nmf(matrix.toarray(), 5, seed=1, iterations=2000)
    np.testing.assert_allclose(dense, w, rtol=1e-6, atol=1e-8)


def test_nmf_says_when_it_was_cut_short():
    with pytest.warns(ConvergenceWarning):
        nmf(symmetric(), 5, iterations=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nmf(symmetric(), 5, iterations=2000)


@pytest.mark.parametrize(
    ("matrix", "f", "expected"),
    [
        (-symmetric(), 2, "matrix: has an entry of -0.9.*, expected none below 0"),
        (sp.csr_array(-symmetric()), 2, "expected none below 0"),
        (symmetric(), 61, "f: 61, expected 1 to 60"),
        (np.full((3, 3), np.inf), 1, "matrix: has NaN or infinite"),
    ],
)
def test_nmf_rejects(matrix, f, expected):
    with pytest.raises(ValueError, match=expected):
        nmf(matrix, f)


# ---------------------------------------------------------------------------------- word2vec


def playlists(seed: int = 0, n_playlists: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Even items meet even ones, odd items odd ones: 40 items, 10 of each playlist."""
    rng = np.random.default_rng(seed)
    contexts = np.repeat(np.arange(n_playlists), 10)
    return contexts, 2 * rng.integers(0, 20, len(contexts)) + contexts % 2


def test_word2vec_tells_communities_apart_and_leaves_absent_items_zero():
    contexts, items = playlists()
    table = word2vec(contexts, items, 45, 8, epochs=10)
    assert table.shape == (45, 8) and table.dtype == np.float64
    assert (table[40:] == 0).all() and (np.linalg.norm(table[:40], axis=1) > 0).all()
    unit = table[:40] / np.linalg.norm(table[:40], axis=1, keepdims=True)
    cosine, same = unit @ unit.T, (np.arange(40)[:, None] + np.arange(40)) % 2 == 0
    assert cosine[same].min() > cosine[~same].max() + 0.1


def test_word2vec_follows_a_new_order_of_the_items():
    contexts, items = playlists(1, 60)
    mapping = np.random.default_rng(0).permutation(40)
    table, renamed = (word2vec(contexts, i, 40, 4) for i in (items, mapping[items]))
    assert renamed[mapping].tobytes() == table.tobytes()


def test_word2vec_reads_interleaved_contexts_as_it_reads_sorted_ones():
    contexts, items = playlists(2, 60)
    order = np.argsort(np.tile(np.arange(10), 60), kind="stable")  # first songs of all first
    shuffled = word2vec(contexts[order], items[order], 40, 4)
    assert shuffled.tobytes() == word2vec(contexts, items, 40, 4).tobytes()


def test_word2vec_options_matter():
    contexts, items = playlists(3, 60)
    plain = word2vec(contexts, items, 40, 4)
    for option in (
        {"seed": 1}, {"epochs": 6}, {"window": 2}, {"negatives": 2}, {"subsampling": 0.0},
    ):  # fmt: skip
        assert word2vec(contexts, items, 40, 4, **option).tobytes() != plain.tobytes(), option
    assert word2vec(contexts, items, 40, 4, window=9).tobytes() == plain.tobytes()


def test_word2vec_gives_the_same_bytes_in_every_process():
    code = (
        "import hashlib, numpy as np\n"
        "from specrec_core.factorisation import word2vec\n"
        "c = np.repeat(np.arange(40), 8); i = np.random.default_rng(0).integers(0, 30, 320)\n"
        "print(hashlib.sha256(word2vec(c, i, 30, 5, seed=3).tobytes()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}  # here it is random, as a rule
    there = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert there.returncode == 0, there.stderr[-2000:]
    contexts = np.repeat(np.arange(40), 8)
    items = np.random.default_rng(0).integers(0, 30, 320)
    here = word2vec(contexts, items, 30, 5, seed=3)
    assert there.stdout.strip() == hashlib.sha256(here.tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("items", "options", "expected"),
    [
        ([0, 4], {}, "items: code 4, expected codes below n_items, 4"),
        ([0], {}, "items: 1 rows, expected as many as contexts has, 2"),
        ([0, -1], {}, "items: code -1, expected non-negative"),
        ([0, 1], {"f": 0}, "f: 0, expected at least 1"),
        ([0, 1], {"epochs": 0}, "epochs: 0, expected at least 1"),
        ([0, 1], {"window": 0}, "window: 0, expected at least 1"),
        ([0, 1], {"negatives": 0}, "negatives: 0, expected at least 1"),
        ([0, 1], {"subsampling": 1.0}, "subsampling: 1.0, expected a share"),
    ],
)
def test_word2vec_rejects(items, options, expected):
    with pytest.raises(ValueError, match=expected):
        word2vec(np.array([0, 0]), np.array(items), 4, **{"f": 2, **options})


def test_word2vec_rejects_contexts_that_gensim_would_cut():
    contexts, items = np.zeros(10_001, dtype=int), np.arange(10_001)
    with pytest.raises(ValueError, match="contexts: one has 10001 rows, expected at most 10000"):
        word2vec(contexts, items, 10_001, 2)
