"""Embeddings by factorisation: truncated SVD, NMF and word2vec, each one table of item vectors.

    graph = ppmi(contexts, items)                     # specrec_core.ppmi
    svd = truncated_svd(graph.matrix, 128)
    svd.embedding(64)                                 # (n, 64): E = US, cut to 64 columns

`truncated_svd` needs numpy and scipy alone; `nmf` needs scikit-learn, `word2vec` needs gensim.
Whatever is drawn is drawn from ``seed``: with one thread, the same call gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from scipy.sparse.linalg import svds

from specrec_core.ppmi import rows_of_codes

METHODS = ("randomized", "arpack")
LONGEST_SENTENCE = 10_000  # gensim cuts what is longer

Matrix = sp.csr_array | sp.csr_matrix | np.ndarray  # or any other scipy.sparse format


@dataclass(frozen=True, eq=False)
class Decomposition:
    """A truncated singular value decomposition M ≈ U S Vᵀ.

    u: ``(n, f)``, s: ``(f,)`` descending, v: ``(m, f)``, all float64; the columns of u and of v
    are orthonormal.

    For symmetric M = Σ λ_r v_r v_rᵀ, with J = diag(sign λ_r) and distinct σ_r = abs λ_r: U = V J
    and S = diag σ, so the truncated matrix is M_f = E S⁻¹ J Eᵀ, and E Eᵀ = M_f M_fᵀ.
    """

    u: np.ndarray
    s: np.ndarray
    v: np.ndarray

    def __post_init__(self) -> None:
        shapes = self.u.shape, self.s.shape, self.v.shape
        if self.u.ndim != 2 or self.v.ndim != 2 or self.s.shape != (self.u.shape[1],):
            raise ValueError(f"u, s, v: shapes {shapes}, expected (n, f), (f,), (m, f)")
        if self.v.shape[1] != len(self.s):
            raise ValueError(f"u, s, v: shapes {shapes}, expected (n, f), (f,), (m, f)")

    def embedding(self, f: int | None = None, exponent: float = 1.0) -> np.ndarray:
        """U S^exponent, cut to the first ``f`` columns (all, if None): ``(n, f)``.

        The embedding of [spiky2023svd] is E = US, exponent 1. Raises ValueError where f is not
        1 … the number of columns, or the exponent is negative.
        """
        if not exponent >= 0:
            raise ValueError(f"exponent: {exponent}, expected at least 0")
        f = self._columns(f)
        return self.u[:, :f] * self.s[:f] ** exponent

    @property
    def signs(self) -> np.ndarray:
        """For symmetric M the signs of the eigenvalues, ±1 ``(f,)``, those of u_r · v_r.

        They are sure where \\|u_r · v_r\\| is near 1. Where eigenvalues λ and −λ share a singular
        value, or a randomised SVD has not told two near ones apart (the last of its columns), u_r
        and v_r are different mixtures and the sign means little; there J is no diagonal matrix.

        Raises ValueError if M is not square.
        """
        if len(self.u) != len(self.v):
            raise ValueError(
                f"u, v: {len(self.u)} and {len(self.v)} rows, expected those of a symmetric matrix"
            )
        return np.where(np.einsum("ir,ir->r", self.u, self.v) < 0, -1.0, 1.0)

    def row_sums(self, f: int | None = None) -> np.ndarray:
        """Row sums U S Vᵀ 1 of the truncated matrix, ``(n,)``, from the factors alone.

        They are what the truncated matrix has for degrees (strengths). f as in `embedding`.
        """
        f = self._columns(f)
        return self.embedding(f) @ self.v[:, :f].sum(axis=0)

    def _columns(self, f: int | None) -> int:
        f = len(self.s) if f is None else f
        if not 1 <= f <= len(self.s):
            raise ValueError(f"f: {f}, expected 1 to {len(self.s)}, the columns there are")
        return f


def truncated_svd(
    matrix: Matrix,
    f: int,
    *,
    method: str = "randomized",
    seed: int = 0,
    oversamples: int = 10,
    power_iterations: int | None = None,
) -> Decomposition:
    """The f largest singular values of a matrix ``(n, m)``, with their vectors.

    The entry of largest absolute value of each u_r is made positive.

    Parameters
    ----------
    matrix
        scipy.sparse or a numpy array, of finite real numbers, not all zero.
    f
        How many, 1 to min(n, m); less than min(n, m) with "arpack".
    method
        "randomized" is the algorithm of [halko2011finding] with f + ``oversamples`` Gaussian test
        vectors and ``power_iterations``, step by step as scikit-learn's ``randomized_svd``, which
        [spiky2023svd] used. Its last columns are approximate: the singular values there come out
        too small, by one or two per cent on PPMI graphs at f = 128. "arpack" is Lanczos iteration
        on MᵀM to machine precision, from a start vector drawn from ``seed``.
    seed
        Of the test vectors or the start vector.
    oversamples, power_iterations
        Of "randomized" alone. None is scikit-learn's choice: 7 power iterations where
        f < 0.1 · min(n, m), else 4.

    Raises
    ------
    ValueError
        If the matrix is not two-dimensional, real, finite and non-zero, or an option is out of
        range.
    """
    if method not in METHODS:
        raise ValueError(f"method: {method!r}, expected one of {', '.join(METHODS)}")
    matrix = _checked(matrix)
    smaller = min(matrix.shape)
    most = smaller if method == "randomized" else smaller - 1
    if not 1 <= f <= most:
        raise ValueError(
            f"f: {f}, expected 1 to {most} with {method!r} for a matrix of shape {matrix.shape}"
        )
    if oversamples < 0:
        raise ValueError(f"oversamples: {oversamples}, expected at least 0")
    if power_iterations is None:
        power_iterations = 7 if f < 0.1 * smaller else 4
    if power_iterations < 0:
        raise ValueError(f"power_iterations: {power_iterations}, expected at least 0")
    if method == "arpack":
        start = np.random.default_rng(seed).standard_normal(smaller)
        u, s, vt = svds(matrix, k=f, v0=start)
        order = np.argsort(-s, kind="stable")
        u, s, vt = u[:, order], s[order], vt[order]
    elif matrix.shape[0] < matrix.shape[1]:  # the shorter side is the cheaper one to draw for
        v, s, ut = _randomized(matrix.T, f, seed, oversamples, power_iterations)
        u, vt = ut.T, v.T
    else:
        u, s, vt = _randomized(matrix, f, seed, oversamples, power_iterations)
    flip = np.where(u[np.abs(u).argmax(axis=0), np.arange(f)] < 0, -1.0, 1.0)
    return Decomposition(
        np.ascontiguousarray(u * flip), np.ascontiguousarray(s), np.ascontiguousarray(vt.T * flip)
    )


def nmf(
    matrix: Matrix, f: int, *, seed: int = 0, iterations: int = 200, tolerance: float = 1e-4
) -> np.ndarray:
    """Non-negative factorisation M ≈ W H, W, H >= 0, of least squared error: W, ``(n, f)`` float64.

    Only products of a column of W and its row of H are determined. Here each row of H has unit
    norm, as each column of V has in E = US, so that W holds the weights (a row of H that is zero
    makes its column of W zero). Coordinate descent of scikit-learn, which starts from the SVD
    ("nndsvda", drawn from ``seed``) and stops when the projected gradient has fallen to
    ``tolerance`` of its first value. Where ``iterations`` end before, scikit-learn's
    ``ConvergenceWarning`` says so and W is what there was by then. Source: lee1999learning.

    Raises ValueError for a matrix that `truncated_svd` would refuse or with negative entries, and
    for f outside 1 … min(n, m).
    """
    from sklearn.decomposition import NMF

    matrix = _checked(matrix)
    least = matrix.min()
    if least < 0:
        raise ValueError(f"matrix: has an entry of {least}, expected none below 0")
    if not 1 <= f <= min(matrix.shape):
        raise ValueError(f"f: {f}, expected 1 to {min(matrix.shape)} for shape {matrix.shape}")
    model = NMF(f, init="nndsvda", random_state=seed, max_iter=iterations, tol=tolerance)
    w = model.fit_transform(matrix)
    return w * np.linalg.norm(model.components_, axis=1)


def word2vec(
    contexts: np.ndarray,
    items: np.ndarray,
    n_items: int,
    f: int,
    *,
    seed: int = 0,
    epochs: int = 5,
    window: int = 100,
    negatives: int = 5,
    subsampling: float = 1e-3,
) -> np.ndarray:
    """Skip-gram with negative sampling, contexts (playlists) as sentences: ``(n_items, f)``.

    Row i is the input vector of item i, float64; it is zero where no row names the item. Repeats
    and the order of the rows within a context count. Trained by gensim on one thread. Sources:
    mikolov2013distributed; levy2014neural on what it factorises; rehurek2010software.

    Parameters
    ----------
    contexts, items
        ``(P,)`` integer codes from 0: one row per (context, item).
    n_items
        Rows of the table; codes of items are below it.
    epochs
        Passes; the learning rate falls from 0.025 to 0.0001 on a straight line.
    window
        Neighbours on each side that are predicted from an item: all items of a context of up to
        window + 1 rows. It is not shrunk at random.
    negatives
        Items drawn per pair, in proportion to (number of rows) to the power 0.75.
    subsampling
        Items of more than this share of all rows are skipped at random now and then; 0 for none.

    Raises
    ------
    ValueError
        If codes are malformed or out of range, an option is out of range, or a context has more
        than 10,000 rows.
    """
    from gensim.models import Word2Vec

    contexts, items = rows_of_codes(contexts, items)
    if items.max() >= n_items:
        raise ValueError(f"items: code {items.max()}, expected codes below n_items, {n_items}")
    options = {"f": f, "epochs": epochs, "window": window, "negatives": negatives}
    for name, value in options.items():
        if value < 1:
            raise ValueError(f"{name}: {value}, expected at least 1")
    if not 0.0 <= subsampling < 1.0:
        raise ValueError(f"subsampling: {subsampling}, expected a share in [0, 1)")
    order = np.argsort(contexts, kind="stable")
    ends = np.flatnonzero(np.diff(contexts[order])) + 1
    sentences = [part.tolist() for part in np.split(items[order].astype(str), ends)]
    longest = max(map(len, sentences))
    if longest > LONGEST_SENTENCE:
        raise ValueError(
            f"contexts: one has {longest} rows, expected at most {LONGEST_SENTENCE}, the longest "
            "sentence of gensim"
        )
    # The vocabulary is left in order of appearance: a sort by count breaks ties as the CPU likes.
    model = Word2Vec(
        sentences, vector_size=f, sg=1, hs=0, negative=negatives, window=window,
        shrink_windows=False, sample=subsampling, epochs=epochs, min_count=1, seed=seed,
        workers=1, sorted_vocab=0,
    )  # fmt: skip
    table = np.zeros((n_items, f))
    table[np.array(model.wv.index_to_key, dtype=np.int64)] = model.wv.vectors
    return table


def _randomized(
    matrix: sp.csr_array | sp.csc_array | np.ndarray,
    f: int,
    seed: int,
    oversamples: int,
    power_iterations: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """halko2011finding, Algorithms 4.4 (with LU for QR between the products) and 5.1."""

    def scaled(q: np.ndarray) -> np.ndarray:
        # As scikit-learn has it: few steps lose too few digits to matter.
        return q if power_iterations <= 2 else scipy.linalg.lu(q, permute_l=True)[0]

    draw = np.random.RandomState(seed)  # the generator that scikit-learn seeds
    q = draw.normal(size=(matrix.shape[1], f + oversamples))
    for _ in range(power_iterations):
        q = scaled(matrix @ q)
        q = scaled(matrix.T @ q)
    q = scipy.linalg.qr(matrix @ q, mode="economic")[0]
    u, s, vt = scipy.linalg.svd(q.T @ matrix, full_matrices=False)
    return q @ u[:, :f], s[:f], vt[:f]


def _checked(matrix: Matrix) -> sp.csr_array | np.ndarray:
    """`matrix` as float64, in compressed rows if sparse; refused if it cannot be decomposed."""
    if not sp.issparse(matrix):
        matrix = np.asarray(matrix)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(f"matrix: shape {matrix.shape}, expected (n, m), n and m at least 1")
    if matrix.dtype.kind not in "fiub":
        raise ValueError(f"matrix: dtype {matrix.dtype}, expected real numbers")
    matrix = sp.csr_array(matrix) if sp.issparse(matrix) else matrix
    matrix = matrix.astype(np.float64)
    values = matrix.data if sp.issparse(matrix) else matrix
    if not np.isfinite(values).all():
        raise ValueError("matrix: has NaN or infinite entries, expected finite numbers")
    if not values.any():
        raise ValueError("matrix: is zero, expected some entry that is not")
    return matrix
