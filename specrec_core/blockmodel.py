"""The degree-corrected block model of a symmetric graph, its spectrum and its samples.

In a degree-corrected block model [karrer2011stochastic] the edge ``i, j`` has the expectation
``θ_i θ_j B[z_i, z_j]``: a propensity ``θ`` per node, a label ``z`` per node, and one affinity per
pair of communities. The matrix of expectations has at most as many singular values as there are
communities K, and `BlockModel.decomposition` finds them from a K × K matrix; `BlockModel.sample`
draws a graph in time that grows with its edges. What an embedding recovers of the labels and the
propensities is measured by `specrec_core.recovery`.

>>> model = planted(300, 3, degree=20.0, seed=0)
>>> model.decomposition().u.shape, round(float(model.expected_degrees().mean()), 6)
((300, 3), 20.0)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from specrec_core.factorisation import Decomposition
from specrec_core.interactions import generator
from specrec_core.propensities import communities, theta_law

KINDS = ("assortative", "disassortative", "paired", "rank one")
RATE = 2.0 * np.log(2.0)  # 1 - exp(-RATE p) >= p for p <= 1/2, with equality at both ends


@dataclass(frozen=True, eq=False)
class BlockModel:
    """A symmetric degree-corrected block model.

    Attributes
    ----------
    theta : (n,) float64
        Propensities, positive. A factor per community may be moved to ``blocks`` and back.
    labels : (n,) int64
        Community of each node, from 0; none is empty.
    blocks : (K, K) float64
        Affinities, symmetric and not negative.

    Raises
    ------
    ValueError
        If a shape or a value is not as above.
    """

    theta: np.ndarray
    labels: np.ndarray
    blocks: np.ndarray

    def __post_init__(self) -> None:
        theta, blocks = (np.asarray(x, dtype=np.float64) for x in (self.theta, self.blocks))
        labels = communities(self.labels)
        if theta.shape != labels.shape:
            raise ValueError(f"theta: shape {theta.shape}, expected that of labels, {labels.shape}")
        if not (np.isfinite(theta) & (theta > 0)).all():
            raise ValueError(f"theta: smallest value {theta.min()}, expected finite and positive")
        if blocks.ndim != 2 or blocks.shape[0] != blocks.shape[1]:
            raise ValueError(f"blocks: shape {blocks.shape}, expected (K, K)")
        if not (np.isfinite(blocks) & (blocks >= 0)).all() or (blocks != blocks.T).any():
            raise ValueError("blocks: expected a symmetric matrix of finite values, none negative")
        sizes = np.bincount(labels, minlength=len(blocks))
        if len(sizes) != len(blocks) or not sizes.all():
            raise ValueError(
                f"labels: communities of {sizes.tolist()} nodes, expected {len(blocks)} as in "
                "blocks, none of them empty"
            )
        for name, value in (("theta", theta), ("labels", labels), ("blocks", blocks)):
            object.__setattr__(self, name, value)

    @property
    def n(self) -> int:
        """Number of nodes."""
        return len(self.theta)

    @property
    def K(self) -> int:
        """Number of communities."""
        return len(self.blocks)

    @cached_property
    def mass(self) -> np.ndarray:
        """Sum of θ in each community, T, ``(K,)``."""
        return np.bincount(self.labels, self.theta, minlength=self.K)

    @cached_property
    def psi(self) -> np.ndarray:
        """Euclidean norm of θ in each community, ψ, ``(K,)``."""
        return np.sqrt(np.bincount(self.labels, self.theta**2, minlength=self.K))

    @property
    def core(self) -> np.ndarray:
        """G = ΨBΨ, ``(K, K)``, which has the eigenvalues other than zero of the whole matrix."""
        return self.psi[:, None] * self.blocks * self.psi

    def mean(self) -> np.ndarray:
        """The matrix of expectations θ_i θ_j B[z_i, z_j], ``(n, n)`` dense, for small n.

        With its diagonal, and without the bound that `sample` sets: entries may exceed 1.
        """
        return self.theta[:, None] * self.theta * self.blocks[np.ix_(self.labels, self.labels)]

    def expected_degrees(self, *, drawn: bool = False) -> np.ndarray:
        """Expected degrees, ``(n,)``.

        The row sums of `mean`, θ_i Σ_l B[z_i, l] T_l; with ``drawn`` those of the graphs that
        `sample` draws, where a probability is at most 1 and no node meets itself.
        """
        if not drawn:
            return self.theta * (self.blocks @ self.mass)[self.labels]
        own = self.theta**2 * self.blocks[self.labels, self.labels]
        certain, light = self._certain()
        light *= self.blocks[self.labels]
        return (certain + self.theta[:, None] * light).sum(axis=1) - np.minimum(own, 1.0)

    @property
    def clipped(self) -> float:
        """Share of the pairs i < j with θ_i θ_j B[z_i, z_j] > 1, which `sample` takes as 1."""
        own = self.theta**2 * self.blocks[self.labels, self.labels] > 1.0
        both = self._certain()[0].sum() - own.sum()
        return float(both) / max(self.n * (self.n - 1), 1)

    def decomposition(self, f: int | None = None) -> Decomposition:
        """The singular value decomposition of `mean`, exact, in O(n K) for small K.

        `mean` is Q G Qᵀ with Q the columns θ/ψ of each community, which are orthonormal, so the
        eigenvectors of the K × K `core` G give those of the whole. Singular values are the
        absolute eigenvalues, descending; ``v`` is ``u`` times the signs of the eigenvalues. The
        largest entry of each column of ``u`` is positive.

        Parameters
        ----------
        f
            How many to keep, 1 to the rank of ``blocks``; by default all of them. What exceeds the
            rank is zero, without singular vectors of its own, and is not offered.

        Raises
        ------
        ValueError
            If ``f`` is out of range.
        """
        values, vectors = np.linalg.eigh(self.core)
        order = np.argsort(-np.abs(values), kind="stable")
        values, vectors = values[order], vectors[:, order]
        size = np.abs(values)
        rank = int((size > 16 * self.K * np.finfo(float).eps * size[0]).sum())
        f = rank if f is None else f
        if not min(1, rank) <= f <= rank:
            raise ValueError(f"f: {f}, expected 1 to the rank of the blocks, {rank}")
        u = vectors[self.labels, :f] * (self.theta / self.psi[self.labels])[:, None]
        largest = np.abs(u).argmax(axis=0)
        u *= np.sign(u[largest, np.arange(f)])
        return Decomposition(u, size[:f], u * np.sign(values[:f]))

    def sample(self, seed: int) -> sp.csr_array:
        """Draw a graph: its adjacency, ``(n, n)`` of 0 and 1, symmetric, without loops.

        Each pair i < j is an edge with probability min(1, θ_i θ_j B[z_i, z_j]), independently of
        all others, exactly. Time grows with n K log n and the number of edges, like that of
        [miller2011efficient], whose walk over the nodes is replaced by a Poisson multigraph:

        - of the pairs with p <= 1/2 a Poisson number of each is drawn, of mean ``RATE * p``, all
          at once, by drawing their total and then their ends in proportion to θ; a pair is there
          at least once with probability 1 - exp(-RATE p) >= p, and is then kept with probability
          p / (1 - exp(-RATE p));
        - the pairs with p > 1/2 are tried one by one; there are at most twice as many as edges
          expected among them.
        """
        draw = generator("block model", seed)
        order, bounds = self._sorted
        ends: list[np.ndarray] = [np.empty((2, 0), dtype=np.int64)]
        for k in range(self.K):
            for other in range(k, self.K):
                first = order[bounds[k] : bounds[k + 1]]
                second = order[bounds[other] : bounds[other + 1]]
                a, b = _edges(
                    self.theta[first], self.theta[second], self.blocks[k, other], k == other, draw
                )
                ends.append(np.stack([first[a], second[b]]))
        a, b = np.concatenate(ends, axis=1)
        place = (np.concatenate([a, b]), np.concatenate([b, a]))
        adjacency = sp.coo_array((np.ones(2 * len(a)), place), shape=(self.n, self.n)).tocsr()
        adjacency.sort_indices()
        return adjacency

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """Nodes by community, then by θ ascending; and where each community begins."""
        sizes = np.bincount(self.labels, minlength=self.K)
        return np.lexsort((self.theta, self.labels)), np.concatenate([[0], np.cumsum(sizes)])

    def _certain(self) -> tuple[np.ndarray, np.ndarray]:
        """Per node and community (n, K): partners with θθB > 1 and the θ of the others, summed."""
        order, bounds = self._sorted
        certain, light = np.zeros((self.n, self.K)), np.zeros((self.n, self.K))
        for k in range(self.K):
            members = self.theta[order[bounds[k] : bounds[k + 1]]]
            with np.errstate(divide="ignore", over="ignore"):
                largest = 1.0 / (self.theta * self.blocks[self.labels, k])
            place = np.searchsorted(members, largest, "right")
            certain[:, k] = len(members) - place
            light[:, k] = np.concatenate([[0.0], np.cumsum(members)])[place]
        return certain, light


def _edges(
    row: np.ndarray, column: np.ndarray, affinity: float, within: bool, draw: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Edges between two communities, as positions in their ascending θ; column < row if within."""
    limit = np.arange(len(row)) if within else np.full(len(row), len(column))
    with np.errstate(divide="ignore", over="ignore"):
        light = np.searchsorted(column, 0.5 / (affinity * row), "right")  # partners with p <= 1/2
    light = np.minimum(light, limit)
    heavy = limit - light
    a = np.repeat(np.arange(len(row)), heavy)
    b = np.arange(len(a)) - np.repeat(np.cumsum(heavy) - limit, heavy)
    kept = draw.random(len(a)) < affinity * row[a] * column[b]

    mass = np.concatenate([[0.0], np.cumsum(column)])
    share = np.cumsum(row * mass[light])
    total = draw.poisson(RATE * affinity * share[-1])
    c = np.searchsorted(share, _below(np.full(total, share[-1]), draw), "right")
    d = np.searchsorted(mass, _below(mass[light[c]], draw), "right") - 1
    keys = np.sort(c * len(column) + d)
    c, d = np.divmod(keys[np.diff(keys, prepend=-1) > 0], len(column))
    p = affinity * row[c] * column[d]
    lucky = draw.random(len(c)) < p / -np.expm1(-RATE * p)
    return np.concatenate([a[kept], c[lucky]]), np.concatenate([b[kept], d[lucky]])


def _below(bound: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Uniform numbers in [0, bound), rounding included."""
    return np.minimum(draw.random(len(bound)) * bound, np.nextafter(bound, 0.0))


def block_matrix(
    K: int, kind: str = "assortative", within: float = 1.0, between: float = 0.05
) -> np.ndarray:
    """Affinities of K communities, ``(K, K)`` float64.

    Parameters
    ----------
    kind
        - "assortative": ``within`` on the diagonal, ``between`` elsewhere;
        - "disassortative": the two exchanged;
        - "paired": ``within`` between the communities 0 and 1, 2 and 3, ..., ``between`` elsewhere,
          on the diagonal too, so that a community meets its partner and not itself (K even);
        - "rank one": v vᵀ, v evenly spaced from √``between`` to √``within``: communities differ
          in activity alone, and a graph cannot tell them apart [karrer2011stochastic].

    Raises
    ------
    ValueError
        If the kind is unknown, K does not fit it, or an affinity is negative.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: {kind!r}, expected one of {', '.join(KINDS)}")
    if K < 1 or (kind == "paired" and K % 2):
        raise ValueError(f"K: {K}, expected {'an even number' if K > 0 else 'at least 1'}")
    for name, value in (("within", within), ("between", between)):
        if not 0.0 <= value < np.inf:
            raise ValueError(f"{name}: {value}, expected a finite number, not negative")
    if kind == "rank one":
        v = np.linspace(np.sqrt(between), np.sqrt(within), K)
        return np.outer(v, v)
    k = np.arange(K)
    if kind == "disassortative":
        within, between = between, within
    blocks = np.full((K, K), between, dtype=np.float64)
    blocks[k, k ^ 1 if kind == "paired" else k] = within
    return blocks


def planted(
    n: int = 4000,
    K: int = 10,
    *,
    law: str = "pareto",
    kind: str = "assortative",
    within: float = 1.0,
    between: float = 0.05,
    degree: float = 80.0,
    seed: int = 0,
    **parameters: float,
) -> BlockModel:
    """A block model with labels drawn uniformly, `theta_law` and `block_matrix`.

    The blocks are scaled so that `BlockModel.expected_degrees` has the mean ``degree``; drawn
    graphs have a little less, as they have no loops and no probability above 1
    (`BlockModel.clipped`, ``expected_degrees(drawn=True)``).

    Raises
    ------
    ValueError
        If an argument is out of range, or so few nodes leave a community empty.
    """
    if not 0.0 < degree < n:
        raise ValueError(f"degree: {degree}, expected more than 0 and less than n = {n}")
    labels = generator("planted", seed).integers(K, size=n)
    theta = theta_law(n, law, labels, seed, **parameters)
    model = BlockModel(theta, labels, block_matrix(K, kind, within, between))
    mean = model.mass @ model.blocks @ model.mass / n
    if mean == 0.0:
        raise ValueError("within: 0 as between, expected an affinity above 0")
    return BlockModel(theta, labels, model.blocks * (degree / mean))
