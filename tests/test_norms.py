"""specrec_core.norms: degree from norms, groups by norm, and the spread inside spikes."""

import math
import statistics

import numpy as np
import pytest
import torch

from specrec_core import norms, spikes

DRAW = np.random.default_rng(0)
TABLE = DRAW.standard_normal((30, 4))


def law(name: str, n: int, draw: np.random.Generator) -> np.ndarray:
    """θ of n items, mean 1 in expectation."""
    return {
        "constant": np.ones(n),
        "uniform": draw.uniform(0.2, 1.8, n),
        "lognormal": np.exp(0.8 * draw.standard_normal(n) - 0.32),
        "pareto": (draw.pareto(2.5, n) + 1) * 0.6,
    }[name]


def block_model(
    name: str, communities: int = 8, size: int = 500, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """E = US of a degree-corrected block model, its labels, θ and expected degrees."""
    draw = np.random.default_rng(seed)
    labels = np.repeat(np.arange(communities), size)
    theta = law(name, communities * size, draw)
    blocks = np.full((communities, communities), 0.05) + 0.95 * np.eye(communities)
    psi = np.sqrt(np.bincount(labels, theta**2))
    values, vectors = np.linalg.eigh(psi[:, None] * blocks * psi)
    table = (theta / psi[labels])[:, None] * (vectors * np.abs(values))[labels]
    return table, labels, theta, theta * (blocks @ np.bincount(labels, theta))[labels]


# ------------------------------------------------------------------------------- radial dispersion


def test_the_spread_is_that_of_each_spike_on_its_own(device: str) -> None:
    draw = np.random.default_rng(1)
    table = draw.pareto(2.0, 400)[:, None] * draw.standard_normal((400, 5))
    labels = draw.integers(-2, 40, size=400)  # below 0: in no spike
    labels[:30] = 50  # and gaps in the numbers
    for f, least in ((None, 5), (3, 1), (3, 11)):
        found = norms.radial_dispersion(
            torch.as_tensor(table, device=device), torch.as_tensor(labels), f, least=least
        )
        expected = []
        for spike in sorted(set(labels[labels >= 0].tolist())):
            inside = [math.hypot(*row[:f]) for row in table[labels == spike]]
            if len(inside) >= least:
                variation = statistics.pstdev(inside) / statistics.fmean(inside)
                low, high = np.percentile(inside, [5, 95])
                expected.append((spike, len(inside), variation, high / low))
        measured = [tensor.cpu().numpy() for tensor in found]
        assert all(tensor.device.type == device for tensor in found)
        assert [tuple(row) for row in zip(*measured[:2], strict=True)] == [e[:2] for e in expected]
        for values, column in zip(measured[2:], (2, 3), strict=True):
            np.testing.assert_allclose(values, [e[column] for e in expected], rtol=1e-12)


def test_the_spread_tells_spikes_from_blobs() -> None:
    for seed in (0, 1):
        variation, share = {}, {}
        for name in ("constant", "uniform", "lognormal", "pareto"):
            table, labels, theta, _ = block_model(name, seed=seed)
            noisy = table + 1e-3 * np.random.default_rng(seed).standard_normal(table.shape)
            greedy = spikes.peaks(noisy)
            share[name] = greedy.share
            found = norms.radial_dispersion(noisy, spikes.members(noisy, greedy))
            variation[name] = float(found.variation.mean())
            # on the exact model, it is that of θ
            exact = norms.radial_dispersion(table, labels)
            each = theta.reshape(8, -1)
            low, high = np.percentile(each, [5, 95], axis=1)
            np.testing.assert_allclose(exact.variation, each.std(1) / each.mean(1), atol=1e-12)
            np.testing.assert_allclose(exact.ratio, high / low, rtol=1e-12)
        assert len(set(share.values())) == 1  # Spk sees no difference
        assert variation["constant"] < 0.01
        assert variation["uniform"] == pytest.approx(1.6 / math.sqrt(12), rel=0.05)
        assert variation["lognormal"] == pytest.approx(math.sqrt(math.exp(0.64) - 1), rel=0.15)
        assert variation["pareto"] > 0.4


def test_scale_turns_and_order_leave_the_spread_alone() -> None:
    table, labels, _, _ = block_model("pareto", size=50)
    found = norms.radial_dispersion(table, labels)
    order = np.random.default_rng(0).permutation(len(table))
    turned = -1e200 * table[order][:, ::-1]
    again = norms.radial_dispersion(turned.copy(), labels[order])
    assert again.spikes.tolist() == found.spikes.tolist() == list(range(8))
    torch.testing.assert_close(again.variation, found.variation)
    torch.testing.assert_close(again.ratio, found.ratio)


def test_spreads_at_the_edges() -> None:
    table = np.array([[1.0, 0], [2, 0], [0, 0], [0, 0], [0, 3]])
    found = norms.radial_dispersion(table, [0, 0, 1, 1, 2], least=1)
    assert found.sizes.tolist() == [2, 2, 1]
    assert found.variation[0] == pytest.approx(1 / 3) and found.variation[1].isnan()
    assert found.variation[2] == 0 and found.ratio[2] == 1
    assert norms.radial_dispersion(table, [0, 0, 0, 0, 0]).ratio[0] == math.inf
    assert len(norms.radial_dispersion(table, [-1] * 5).sizes) == 0
    assert len(norms.radial_dispersion(table, [0, 0, 1, 1, 2]).sizes) == 0
    for labels, words in (
        ([0, 1], r"labels: shape \(2,\), expected \(5,\)"),
        ([0.0] * 5, "labels: torch.float32, expected integers"),
        ([True] * 5, "labels: torch.bool, expected integers"),
    ):
        with pytest.raises(ValueError, match=words):
            norms.radial_dispersion(table, labels)
    with pytest.raises(ValueError, match="least: 0, expected at least 1"):
        norms.radial_dispersion(table, [0] * 5, least=0)


# ----------------------------------------------------------------------------------------- degrees


@pytest.mark.parametrize("name", ["uniform", "pareto"])
def test_the_norm_is_proportional_to_degree_inside_a_community(device: str, name: str) -> None:
    table, labels, _, degree = block_model(name)
    estimate = norms.degree_estimate(torch.as_tensor(table, device=device)).cpu().numpy()
    for community in range(8):
        factor = estimate[labels == community] / degree[labels == community]
        np.testing.assert_allclose(factor, factor[0], rtol=1e-12)
    scaled = norms.degree_estimate(torch.as_tensor(table, device=device), float(degree.sum()))
    assert float(scaled.sum()) == pytest.approx(degree.sum(), rel=1e-12)
    error = np.abs(scaled.cpu().numpy() / degree - 1)
    assert error.max() < 0.2  # equal communities but for the drawn θ: nearly one factor for all


def test_degrees_of_narrow_huge_and_tiny_tables(device: str) -> None:
    expected = [math.hypot(*row) for row in TABLE]
    for scale in (1e-300, 1.0, 1e300):
        found = norms.degree_estimate(torch.as_tensor(TABLE * scale, device=device))
        np.testing.assert_allclose(found.cpu().numpy() / scale, expected, rtol=1e-13)
    narrow = torch.as_tensor(TABLE, device=device).float()
    found = norms.degree_estimate(narrow * 1e30)
    assert found.dtype == torch.float64 and bool(found.isfinite().all())
    np.testing.assert_allclose(found.cpu().numpy() / 1e30, expected, rtol=1e-6)
    first = norms.degree_estimate(TABLE, f=2)
    np.testing.assert_allclose(first, [math.hypot(*row[:2]) for row in TABLE], rtol=1e-14)
    for total in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="total: "):
            norms.degree_estimate(TABLE, total)
    with pytest.raises(ValueError, match="table: zero everywhere"):
        norms.degree_estimate(np.zeros((3, 2)), 5.0)
    assert norms.degree_estimate(np.zeros((3, 2))).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="expected one table"):
        norms.degree_estimate(np.zeros((3, 2, 2)))


# ------------------------------------------------------------------------------------------ groups


@pytest.mark.parametrize("n_groups", [1, 4, 7, 16, 30])
def test_groups_have_equal_counts_and_leave_out_the_largest(device: str, n_groups: int) -> None:
    found = norms.norm_groups(torch.as_tensor(TABLE, device=device), n_groups, 3).tolist()
    walk = sorted(range(30), key=lambda i: math.hypot(*TABLE[i, :3]))
    size = 30 // n_groups
    expected = {i: place // size for place, i in enumerate(walk)}
    assert found == [g if (g := expected[i]) < n_groups else -1 for i in range(30)]
    assert found.count(-1) == 30 % n_groups


def test_equal_norms_are_grouped_by_row() -> None:
    table = np.ones((7, 2)) * np.array([2, 1, 1, 2, 1, 1, 1])[:, None]
    assert norms.norm_groups(table, 3).tolist() == [2, 0, 0, -1, 1, 1, 2]
    for n_groups in (0, 8):
        with pytest.raises(ValueError, match=f"n_groups: {n_groups}, expected between 1 and 7"):
            norms.norm_groups(table, n_groups)
