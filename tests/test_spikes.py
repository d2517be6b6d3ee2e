"""specrec_core.spikes, against a walk that visits one row at a time."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specrec_core import spikes


def slow_peaks(
    table: np.ndarray, cos: float = 0.9, coverage: float = 0.5
) -> tuple[list[int], list[int], int]:
    """Peaks, rows covered after each, and zero rows: one row at a time, in float64."""
    table = np.asarray(table, dtype=np.float64)
    norms = [math.sqrt(sum(value * value for value in row)) for row in table.tolist()]
    walk = sorted((i for i, norm in enumerate(norms) if norm > 0), key=lambda i: -norms[i])
    unit = np.stack([table[i] / norms[i] for i in walk])
    covered = np.zeros(len(walk), dtype=bool)
    found, counts = [], []
    for place, i in enumerate(walk):
        if covered[place]:
            continue
        covered |= unit @ unit[place] > cos
        covered[place] = True
        found.append(i)
        counts.append(int(covered.sum()))
        if counts[-1] > coverage * len(table):
            break
    return found, counts, len(table) - len(walk)


def planted(
    n: int, d: int, rays: int, seed: int, noise: float = 0.1, law: str = "pareto"
) -> tuple[np.ndarray, np.ndarray]:
    """Rows near random rays, with norms of the law; and the ray of each."""
    draw = np.random.default_rng(seed)
    axes = draw.standard_normal((rays, d))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    ray = draw.integers(rays, size=n)
    size = draw.pareto(2.5, n) + 1 if law == "pareto" else np.ones(n)
    table = size[:, None] * (axes[ray] + noise / math.sqrt(d) * draw.standard_normal((n, d)))
    return table, ray


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, chunks and copies so small that every branch is taken on small tables."""
    monkeypatch.setattr(spikes, "FIRST_BLOCK", 3)
    monkeypatch.setattr(spikes, "LARGEST_BLOCK", 9)
    monkeypatch.setattr(spikes, "PEAKS_AIMED_AT", {"cpu": 3, "cuda": 3})
    monkeypatch.setattr(spikes, "CHUNK", {"cpu": 11, "cuda": 11})
    monkeypatch.setattr(spikes, "CHUNK_ROWS", 5)


def agree(table: np.ndarray, device: str = "cpu", **arguments: float) -> spikes.Spikes:
    found = spikes.peaks(torch.as_tensor(table, device=device), **arguments)
    rows, counts, zero_rows = slow_peaks(table, **arguments)
    assert found.peaks.tolist() == rows
    assert found.covered.tolist() == counts
    assert found.zero_rows == zero_rows
    assert found.n == len(table) and found.share == len(rows) / len(table)
    assert found.reached == (counts[-1] > arguments.get("coverage", 0.5) * len(table))
    assert found.peaks.device.type == found.covered.device.type == device
    return found


# ---------------------------------------------------------------------------------------- the walk


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 60),
    d=st.integers(1, 6),
    kind=st.sampled_from(["gaussian", "planted", "repeated", "zeros"]),
    cos=st.sampled_from([-0.95, -0.2, 0.0, 0.35, 0.9, 0.999]),
    coverage=st.sampled_from([0.001, 0.25, 0.5, 0.83, 0.999]),
)
def test_the_blocks_give_the_walk_one_row_at_a_time(
    small_blocks: None, seed: int, n: int, d: int, kind: str, cos: float, coverage: float
) -> None:
    draw = np.random.default_rng(seed)
    if kind == "planted":
        table, _ = planted(n, d, 4, seed)
    else:
        table = draw.standard_normal((n, d))
    if kind == "repeated":
        table = table[draw.integers(max(1, n // 3), size=n)]
    if kind == "zeros":
        table[draw.permutation(n)[: draw.integers(n)]] = 0  # at least one row is left
    agree(table, cos=cos, coverage=coverage)


@pytest.mark.parametrize("f", [2, 7, 12, 40])
def test_the_walk_on_larger_tables(device: str, f: int) -> None:
    table, _ = planted(3000, 40, 30, seed=f, noise=0.5)
    found = spikes.peaks(torch.as_tensor(table, device=device), f)
    rows, counts, _ = slow_peaks(table[:, :f])
    assert found.peaks.tolist() == rows and found.covered.tolist() == counts and found.f == f
    assert spikes.spk(table, f) == len(rows) / 3000


@pytest.mark.parametrize(("cos", "least"), [(0.6, 100), (0.9, 2000)])
def test_blocks_of_the_usual_size_shrink_and_grow(device: str, cos: float, least: int) -> None:
    draw = np.random.default_rng(3)
    noise = draw.standard_normal((2500, 12))  # many peaks first, then few
    bundle = 1e-3 * (np.eye(12)[draw.integers(12, size=2000)] + 1e-3)
    found = agree(np.concatenate([noise, bundle]), device, cos=cos, coverage=0.99)
    assert found.peaks.shape[0] > least


def test_float32_and_numpy_give_the_same_as_float64(device: str) -> None:
    table, _ = planted(2000, 16, 20, seed=5, noise=0.4)
    narrow = table.astype(np.float32)
    expected, counts, _ = slow_peaks(narrow)
    for given_table in (narrow, torch.as_tensor(narrow), torch.as_tensor(narrow).double()):
        if isinstance(given_table, torch.Tensor):
            given_table = given_table.to(device)
        found = spikes.peaks(given_table)
        assert found.peaks.tolist() == expected and found.covered.tolist() == counts
    whole = np.round(table * 8).astype(np.int64)
    assert spikes.peaks(whole).peaks.tolist() == slow_peaks(whole)[0]


@pytest.mark.parametrize("block", [1, 128])  # covered from another block, and from its own
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_threshold_is_strict_and_signed(
    monkeypatch: pytest.MonkeyPatch, device: str, dtype: torch.dtype, block: int
) -> None:
    monkeypatch.setattr(spikes, "FIRST_BLOCK", block)
    table = torch.tensor([[5, 0], [3, 4], [-2, 0], [1, 0]], dtype=dtype, device=device)
    at = spikes.peaks(table, cos=0.6, coverage=0.8)
    below = spikes.peaks(table, cos=0.59, coverage=0.8)
    assert at.peaks.tolist() == [0, 1, 2] and at.covered.tolist() == [2, 3, 4]
    assert below.peaks.tolist() == [0, 2] and below.covered.tolist() == [3, 4]
    first = spikes.peaks(table, cos=0.6, coverage=0.4)
    assert first.peaks.tolist() == [0]
    assert spikes.members(table, first).tolist() == [0, -1, -1, 0]


def test_coverage_is_exceeded_not_met() -> None:
    table = np.diag([4.0, 3, 2, 1])  # no two rows near
    for coverage, count in ((0.24, 1), (0.25, 2), (0.5, 3), (0.74, 3), (0.75, 4)):
        assert spikes.peaks(table, coverage=coverage).peaks.tolist() == list(range(count))


@pytest.mark.parametrize("coverage", [0.001, 0.3, 0.5, 0.77, 0.999])
def test_rows_that_are_not_near_need_one_peak_each(device: str, coverage: float) -> None:
    n = 701
    table = torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(0))).Q
    table = table * torch.linspace(2, 1, n)[:, None]
    found = spikes.peaks(table.to(device), coverage=coverage)
    assert found.peaks.tolist() == list(range(math.floor(coverage * n) + 1))
    assert found.covered.tolist() == [i + 1 for i in found.peaks.tolist()]


def test_equal_norms_are_visited_by_row() -> None:
    turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    steps = np.round(np.stack([np.cos(turn), np.sin(turn)], axis=1) * 4) / 4
    table = np.concatenate([steps[::3], steps[::3] * 2])  # four directions, twice
    found = spikes.peaks(table, coverage=0.95)
    assert found.peaks.tolist() == [4, 5, 6, 7] and found.covered.tolist() == [2, 4, 6, 8]


# --------------------------------------------------------------------------------------- zero rows


def test_zero_rows_count_in_n_but_are_no_peaks(device: str) -> None:
    table = np.zeros((10, 3))
    table[[2, 5, 7, 8]] = [[1, 0, 0], [0, 3, 0], [0, 0, 2], [0, 2, 0]]
    found = agree(table, device, coverage=0.3)
    assert found.peaks.tolist() == [5, 7, 2] and found.covered.tolist() == [2, 3, 4]
    assert found.zero_rows == 6 and found.reached and found.share == 0.3
    found = agree(table, device, coverage=0.5)  # four rows can never be more than five
    assert found.peaks.tolist() == [5, 7, 2] and not found.reached
    with pytest.raises(ValueError, match=r"0\.5 of 10 rows cannot be covered, as 6 rows are zero"):
        spikes.spk(table)
    assert spikes.spk(table, coverage=0.3) == 0.3
    labels = spikes.members(torch.as_tensor(table, device=device), found)
    assert labels.tolist() == [-1, -1, 2, -1, -1, 0, -1, 1, 0, -1]


def test_rounding_that_an_svd_leaves_is_no_direction() -> None:
    table, _ = planted(200, 6, 5, seed=0)
    noise = 1e-13 * np.random.default_rng(0).standard_normal((100, 6))
    both = np.concatenate([table, noise])
    found = spikes.peaks(both, coverage=0.9)
    assert found.zero_rows == 100 and found.covered[-1] == 200 and not found.reached
    assert (spikes.members(both, found)[200:] == -1).all()
    strict = spikes.peaks(both, coverage=0.9, negligible=0.0)
    assert strict.zero_rows == 0 and strict.reached and strict.peaks[-1] >= 200
    assert (spikes.members(both, strict)[200:] >= 0).any()
    powers = np.diag([4.0, 2, 1])
    assert spikes.peaks(powers, negligible=0.5).zero_rows == 2  # up to that share of the largest
    assert spikes.peaks(powers, negligible=0.49).zero_rows == 1


# ------------------------------------------------------------------------------------- metamorphic


def test_a_rotation_changes_nothing_and_a_permutation_only_the_names(device: str) -> None:
    table, _ = planted(800, 10, 12, seed=1, noise=0.5)
    draw = np.random.default_rng(1)
    found = spikes.peaks(torch.as_tensor(table, device=device))
    turned = table @ np.linalg.qr(draw.standard_normal((10, 10)))[0]
    order = draw.permutation(800)
    for other, back in ((turned, np.arange(800)), (table[order], order), (-table, None)):
        again = spikes.peaks(torch.as_tensor(other.copy(), device=device))
        rows = again.peaks.cpu().numpy()
        assert (rows if back is None else back[rows]).tolist() == found.peaks.tolist()
        assert again.covered.tolist() == found.covered.tolist()
    wide = np.concatenate([table, np.zeros((800, 3))], axis=1)
    assert spikes.peaks(wide).peaks.tolist() == found.peaks.tolist()


@pytest.mark.parametrize("scale", [1e-250, 1e-30, 1e30, 1e250])
def test_scale_changes_nothing(scale: float) -> None:
    table, _ = planted(300, 5, 8, seed=2)
    found = spikes.peaks(table * scale)
    assert found.peaks.tolist() == slow_peaks(table)[0]
    if 1e-40 < scale < 1e36:
        narrow = torch.as_tensor(table * scale).float()
        assert spikes.peaks(narrow).peaks.tolist() == slow_peaks(table)[0]


def test_the_table_is_left_as_it_was() -> None:
    table = torch.randn(500, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    copy = table.clone()
    spikes.members(table, spikes.peaks(table))
    assert torch.equal(table, copy)
    table.requires_grad_()
    assert not spikes.members(table, spikes.peaks(table)).requires_grad


# ----------------------------------------------------------------------------------------- members


@pytest.mark.parametrize("cos", [-0.5, 0.4, 0.9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_members_belong_to_the_nearest_peak(
    small_blocks: None, device: str, cos: float, dtype: type
) -> None:
    table, _ = planted(400, 8, 12, seed=3, noise=0.8)
    table = table.astype(dtype)
    table[7] = 0
    found = spikes.peaks(torch.as_tensor(table, device=device), 5, cos=cos)
    labels = spikes.members(torch.as_tensor(table, device=device), found)
    assert labels.device.type == device and labels.dtype == torch.int64
    heads = found.peaks.tolist()
    for i, row in enumerate(table[:, :5].astype(np.float64)):
        best, chosen = cos, -1
        for position, head in enumerate(heads):
            peak = table[head, :5].astype(np.float64)
            norms = math.sqrt(row @ row) * math.sqrt(peak @ peak)
            cosine = float(row @ peak) / norms if norms else -1.0
            if cosine > best:
                best, chosen = cosine, position
        assert labels[i] == chosen, i
    assert int((labels >= 0).sum()) == found.covered[-1]
    assert labels[found.peaks].tolist() == list(range(len(heads)))


def test_planted_rays_are_found_again(device: str) -> None:
    table, ray = planted(4000, 64, 25, seed=4, noise=0.2)
    found = spikes.peaks(torch.as_tensor(table, device=device), coverage=0.999)
    labels = spikes.members(torch.as_tensor(table, device=device), found).cpu().numpy()
    assert found.peaks.shape[0] == 25 and (labels >= 0).all()
    assert len(set(zip(labels.tolist(), ray.tolist(), strict=True))) == 25


def test_a_peak_is_its_own_member_whatever_rounding_says() -> None:
    table = torch.randn(300, 16, generator=torch.Generator().manual_seed(0))  # float32
    found = spikes.peaks(table, cos=1 - 1e-12)
    labels = spikes.members(table, found)
    assert found.peaks.shape[0] == 151
    assert labels[found.peaks].tolist() == list(range(151)) and int((labels >= 0).sum()) == 151


# --------------------------------------------------------------------------------- random baseline


@pytest.mark.parametrize(("f", "expected"), [(8, 0.15), (16, 0.495), (32, 0.5)])
def test_the_random_baseline_is_the_one_measured_before(f: int, expected: float) -> None:
    n = 6582  # of Last.fm (HetRec); the file with the facts gives ≈ 15 %, 49–50 % and 50 %
    assert spikes.random_spk(n, f) == pytest.approx(expected, abs=0.012)


def test_a_spectrum_makes_the_baseline_spikier(device: str) -> None:
    plain = spikes.random_spk(3000, 12, device=device)
    assert spikes.random_spk(3000, 12, spectrum=np.full(12, 7.0), device=device) == plain
    steep = spikes.random_spk(3000, 12, spectrum=0.6 ** torch.arange(12), device=device)
    table = np.random.default_rng(0).standard_normal((3000, 12), dtype=np.float32)
    rows, _, _ = slow_peaks(table * (0.6 ** np.arange(12)).astype(np.float32))
    assert steep == len(rows) / 3000 < plain / 2
    assert spikes.random_spk(3000, 12, seed=1) != plain


@pytest.mark.parametrize(("cos", "coverage"), [(0.6, 0.5), (0.9, 0.2), (0.4, 0.8)])
def test_the_baseline_takes_the_cosine_and_the_coverage(cos: float, coverage: float) -> None:
    table = np.random.default_rng(2).standard_normal((500, 5), dtype=np.float32)
    rows, _, _ = slow_peaks(table, cos, coverage)
    assert spikes.random_spk(500, 5, cos=cos, coverage=coverage, seed=2) == len(rows) / 500


# ------------------------------------------------------------------------------------------ errors

TABLE = np.random.default_rng(0).standard_normal((20, 4))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"f": 5}, "f: 5, expected between 1 and 4"),
        ({"f": 0}, "f: 0, expected between 1 and 4"),
        ({"f": -1}, "f: -1"),
        ({"f": True}, "f: True"),
        ({"cos": 1.0}, "cos: 1.0, expected a number between -1 and 1"),
        ({"cos": -1.0}, "cos: -1.0"),
        ({"cos": math.nan}, "cos: nan"),
        ({"coverage": 0.0}, "coverage: 0.0, expected a number between 0 and 1"),
        ({"coverage": 1.0}, "coverage: 1.0"),
        ({"coverage": 50}, "coverage: 50"),
        ({"negligible": 1.0}, "negligible: 1.0"),
        ({"negligible": -1e-9}, "negligible: -1e-09"),
    ],
)
def test_bad_arguments(arguments: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        spikes.peaks(TABLE, **arguments)


def test_bad_tables() -> None:
    for value in (math.nan, math.inf):
        broken = TABLE.copy()
        broken[3, 2] = value
        with pytest.raises(ValueError, match=r"table of shape .* has 1 NaN or infinite"):
            spikes.peaks(broken)
    with pytest.raises(ValueError, match=r"shape \(2, 20, 4\); expected one table .* loop over"):
        spikes.peaks(np.stack([TABLE, TABLE]))
    for empty in (np.zeros((0, 4)), np.zeros((4, 0)), np.zeros(4)):
        with pytest.raises(ValueError, match="table has shape"):
            spikes.peaks(empty)
    with pytest.raises(ValueError, match="table: zero everywhere, expected a row with a direction"):
        spikes.peaks(np.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"zero everywhere.*cut to the columns"):
        spikes.peaks(np.concatenate([np.zeros((20, 2)), TABLE], axis=1), 2)
    with pytest.raises(ValueError, match="table: 19 rows, expected the 20 of spikes"):
        spikes.members(TABLE[1:], spikes.peaks(TABLE))
    with pytest.raises(ValueError, match="f: 4, expected between 1 and 3"):
        spikes.members(TABLE[:, :3], spikes.peaks(TABLE))


@pytest.mark.parametrize("spectrum", [np.ones(3), np.ones((1, 4)), [1, 1, 1, -1.0], np.zeros(4)])
def test_bad_baselines(spectrum: object) -> None:
    with pytest.raises(ValueError, match="spectrum: expected 4 factors"):
        spikes.random_spk(20, 4, spectrum=np.asarray(spectrum))
    with pytest.raises(ValueError, match="n, f: 0, 4, expected both at least 1"):
        spikes.random_spk(0, 4)
