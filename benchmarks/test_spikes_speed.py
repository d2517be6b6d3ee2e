"""How long it takes to count spikes: ``make bench ONLY=spikes``.

One thread on a CPU unless OMP_NUM_THREADS says otherwise; with CUDA there, the same work on it. To
be compared with ``test_one_product``: the cosines of all rows with all peaks, the least that a walk
without shortcuts has to compute, and with ``test_row_by_row``: the walk as one writes it first.
"""

import numpy as np
import pytest
import torch

from specrec_core import norms, spikes, stability

SIZES = [100_000, 1_000_000]
NOISE = {100_000: 0.56, 1_000_000: 0.53}  # a few thousand peaks
F = 128


@pytest.fixture(scope="module", params=SIZES)
def spiky(request):
    """Rays with very unequal numbers of rows, popular rows close to them: float32, (n, 128)."""
    return planted(request.param)


@pytest.fixture(scope="module")
def greedy(spiky):
    return spikes.peaks(spiky)


def planted(n, seed=0):
    draw = np.random.default_rng(seed)
    rays = n // 100
    axes = draw.standard_normal((rays, F), dtype=np.float32)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    share = 1 / np.arange(10, rays + 10)
    ray = draw.choice(rays, size=n, p=share / share.sum())
    size = (draw.pareto(2.0, n) + 1).astype(np.float32)[:, None]
    table = draw.standard_normal((n, F), dtype=np.float32)
    table *= NOISE[n] / np.sqrt(F * size)  # the angle to the ray falls as θ^(−1/2)
    table += axes[ray]
    table *= size
    return torch.from_numpy(table)


@pytest.fixture
def once(timed):
    """One round of counting spikes of a table, or of what it is compared with."""

    def run(work, device, by, table):
        kind = str(table.dtype).removeprefix("torch.")
        return timed(work, device, rounds=1, warm=False, work="Spk", by=by, rows=len(table),
                     dim=F, type=kind)  # fmt: skip

    return run


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_peaks(once, benchmark, spiky, device, dtype):
    """The walk on a spiky table."""
    if dtype == torch.float64 and len(spiky) > SIZES[0]:
        pytest.skip("float64 takes the smaller table alone")
    table = spiky.to(device, dtype)
    found = once(lambda: spikes.peaks(table), device, "the walk", table)
    benchmark.extra_info["peaks"] = len(found.peaks)


def test_peaks_of_noise(once, benchmark, device):
    """The walk on 100,000 rows of noise, the worst case: half of all rows are peaks."""
    table = torch.from_numpy(
        np.random.default_rng(0).standard_normal((SIZES[0], F), dtype=np.float32)
    ).to(device)
    found = once(lambda: spikes.peaks(table), device, "the walk on noise", table)
    benchmark.extra_info["peaks"] = len(found.peaks)
    assert len(found.peaks) == SIZES[0] // 2 + 1


def test_one_product(once, benchmark, spiky, greedy, device):
    """All cosines of rows and peaks, thrown away by chunks."""
    unit = torch.nn.functional.normalize(spiky.to(device))
    heads = unit[greedy.peaks.to(device)].T.contiguous()
    size = (2**20 if device == "cpu" else 2**27) // len(greedy.peaks)

    def product():
        for rows in unit.split(size):
            rows @ heads

    once(product, device, "the product with the peaks alone", unit)
    benchmark.extra_info["peaks"] = len(greedy.peaks)


def test_row_by_row(once, benchmark):
    """The walk one row at a time in numpy, float32, on the smaller table."""
    held = planted(SIZES[0])
    table = held.numpy()

    def walk():
        length = np.linalg.norm(table, axis=1)
        order = np.argsort(-length, kind="stable")
        unit = table[order] / length[order, None]
        covered, found = np.zeros(len(table), dtype=bool), []
        for row in range(len(table)):
            if not covered[row]:
                covered |= unit @ unit[row] > 0.9
                covered[row] = True
                found.append(order[row])
                if covered.sum() > len(table) / 2:
                    break
        return found

    found = once(walk, "cpu", "row by row", held)
    # float32 products of different shapes differ where a cosine equals the threshold to rounding
    assert len(found) == pytest.approx(len(spikes.peaks(held).peaks), rel=0.01)
    benchmark.extra_info["peaks"] = len(found)


def test_members(once, spiky, greedy, device):
    """The spike of each row."""
    table = spiky.to(device)
    once(lambda: spikes.members(table, greedy), device, "the spike of each row", table)


def test_neighbour_stability(once, device):
    """The official protocol: 5 groups of 20,000 rows, 1000 queries each, lists of 500."""
    one = planted(SIZES[0]).to(device)
    two = one + 0.1 * planted(SIZES[0], seed=1).to(device)
    groups = norms.norm_groups(one)
    once(lambda: stability.neighbour_stability(one, two, groups=groups), device,
         "stability of neighbours", one)  # fmt: skip
