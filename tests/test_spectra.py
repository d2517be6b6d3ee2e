"""specrec_core.spectra and its report, against slow references written from the formulas."""

import math
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.integrate
import scipy.sparse
import torch

from specrec_core import spectra

FUNCTIONS = {
    "effective_rank": spectra.effective_rank,
    "information_abundance": spectra.information_abundance,
    "stable_rank": spectra.stable_rank,
    "participation_ratio": spectra.participation_ratio,
    "leading_share": spectra.leading_share,
    "condition_number": spectra.condition_number,
}


def reference(name: str, s: list[float]) -> float:
    """The formulas, one number at a time."""
    total, energy = sum(s), sum(v**2 for v in s)
    if name == "effective_rank":
        return math.exp(-sum(v / total * math.log(v / total) for v in s if v > 0))
    return {
        "information_abundance": total / s[0],
        "stable_rank": energy / s[0] ** 2,
        "participation_ratio": energy**2 / sum(v**4 for v in s),
        "leading_share": s[0] / total,
        "condition_number": s[0] / s[-1] if s[-1] > 0 else math.inf,
    }[name]


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def with_spectrum(n: int, s: list[float] | torch.Tensor, seed: int = 0) -> torch.Tensor:
    """An n × len(s) table that has exactly these singular values, in random directions."""
    s = torch.as_tensor(s, dtype=torch.float64)
    left = torch.linalg.qr(gaussian(n, len(s), seed=seed)).Q
    right = torch.linalg.qr(gaussian(len(s), len(s), seed=seed + 1)).Q
    return left * s @ right


# ------------------------------------------------------------------------------ singular values


@pytest.mark.parametrize("method", ["svd", "gram"])
@pytest.mark.parametrize("shape", [(50, 7), (7, 50), (1, 9), (9, 1), (3, 2, 30, 5), (9000, 3)])
def test_singular_values_match_numpy(shape: tuple[int, ...], method: str, device: str) -> None:
    table = gaussian(*shape)
    found = spectra.singular_values(table.to(device), method)
    assert found.dtype == torch.float64 and found.device.type == torch.device(device).type
    expected = np.linalg.svd(table.numpy(), compute_uv=False)
    np.testing.assert_allclose(found.cpu().numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.int64])
@pytest.mark.parametrize("method", ["svd", "gram"])
def test_any_real_dtype_is_computed_in_float64(
    dtype: torch.dtype, method: str, device: str
) -> None:
    table = (8 * gaussian(40, 6)).to(dtype)
    expected = np.linalg.svd(table.double().numpy(), compute_uv=False)
    found = spectra.singular_values(table.to(device), method).cpu().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_numpy_tables_of_every_layout_are_accepted() -> None:
    table = gaussian(20, 6).numpy()
    frozen = table.copy()
    frozen.flags.writeable = False
    expected = spectra.singular_values(torch.from_numpy(table))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for other in (frozen, np.asfortranarray(table), table[::-1], table.astype(">f8")):
            torch.testing.assert_close(spectra.singular_values(other), expected)
    assert spectra.singular_values(table > 0)[0] > 0
    assert spectra.stable_rank(np.array([1.0, 2.0])[::-1]) == 1.25


def test_gram_keeps_its_stated_accuracy_and_no_more(device: str) -> None:
    exact = torch.logspace(0, -10, 41, dtype=torch.float64)
    table = with_spectrum(600, exact).to(device)
    error = {
        method: (spectra.singular_values(table, method).cpu() / exact - 1).abs()
        for method in ("svd", "gram")
    }
    eps = torch.finfo(torch.float64).eps
    assert (error["svd"] <= 20 * eps / exact).all()
    above = exact > 1e-7
    assert (error["gram"] <= 20 * eps / exact**2)[above].all()
    assert error["gram"][exact < 1e-9].min() > 0.1  # noise below the root of eps
    assert error["svd"][exact < 1e-9].max() < 1e-3


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_gram_neither_overflows_nor_underflows(scale: float, device: str) -> None:
    table = gaussian(30, 4).to(device)
    expected = spectra.singular_values(table) * scale
    found = spectra.singular_values(table * scale, "gram")
    torch.testing.assert_close(found / scale, expected / scale, rtol=1e-9, atol=0)


@pytest.mark.parametrize("method", ["qr", "gram"])
@pytest.mark.parametrize("n, m, d", [(60, 40, 5), (4, 50, 8), (50, 4, 8), (3, 4, 9), (6, 1, 1)])
def test_product_is_the_spectrum_of_the_score_matrix(
    n: int, m: int, d: int, method: str, device: str
) -> None:
    users, items = gaussian(2, n, d, seed=1), gaussian(2, m, d, seed=2)
    found = spectra.product_singular_values(users.to(device), items.to(device), method).cpu()
    assert found.shape == (2, min(n, m, d))
    expected = np.linalg.svd((users @ items.mT).numpy(), compute_uv=False)[:, : min(n, m, d)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_product_broadcasts_and_survives_collapsed_factors(device: str) -> None:
    users = torch.stack([with_spectrum(30, [3.0, 1.0, 0.0, 0.0], seed) for seed in (0, 5)])
    items = gaussian(20, 4).to(device)
    for method, floor in (("qr", 1e-14), ("gram", 1e-7)):
        found = spectra.product_singular_values(users.to(device), items, method).cpu()
        expected = np.linalg.svd((users @ items.cpu().mT).numpy(), compute_uv=False)[:, :4]
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-7, atol=floor * 30)
    zero = spectra.product_singular_values(torch.zeros(5, 3), torch.ones(4, 3))
    assert zero.tolist() == [0.0, 0.0, 0.0]


def test_sparse_matches_dense_and_repeats() -> None:
    matrix = scipy.sparse.random(
        70, 50, density=0.1, rng=np.random.default_rng(0), format="csr", dtype=np.float32
    )
    expected = np.linalg.svd(matrix.toarray().astype(float), compute_uv=False)
    for form in (matrix, matrix.tocoo(), scipy.sparse.csc_array(matrix)):
        found = spectra.sparse_singular_values(form, 6)
        np.testing.assert_allclose(found.numpy(), expected[:6], rtol=1e-9)
    again = spectra.sparse_singular_values(matrix, 6)
    assert torch.equal(again, spectra.sparse_singular_values(matrix, 6))
    binary = (matrix > 0).astype(np.int8)
    np.testing.assert_allclose(
        spectra.sparse_singular_values(binary, 3).numpy(),
        np.linalg.svd(binary.toarray().astype(float), compute_uv=False)[:3],
        rtol=1e-9,
    )


def test_sparse_of_low_rank_ends_in_zeros() -> None:
    dense = np.zeros((30, 20))
    dense[0, 0], dense[1, 1] = 5.0, 2.0
    found = spectra.sparse_singular_values(scipy.sparse.csr_array(dense), 4).numpy()
    np.testing.assert_allclose(found, [5.0, 2.0, 0.0, 0.0], atol=1e-7)
    assert spectra.sparse_singular_values(scipy.sparse.csr_array((8, 9)), 3).tolist() == [0.0] * 3


# --------------------------------------------------------------------------- one number of many


@pytest.mark.parametrize("name", FUNCTIONS)
def test_summaries_match_the_formulas(name: str, device: str) -> None:
    batch = gaussian(3, 2, 8).abs().sort(dim=-1, descending=True).values
    batch[0, 0, 5:] = 0.0
    found = FUNCTIONS[name](batch.to(device))
    assert found.shape == (3, 2) and found.device.type == torch.device(device).type
    for i in range(3):
        for j in range(2):
            expected = reference(name, batch[i, j].tolist())
            assert float(found[i, j]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e-3, 1e300])
def test_summaries_do_not_depend_on_scale(scale: float) -> None:
    s = torch.tensor([4.0, 2.0, 1.0, 0.0]) if scale > 1e-310 else torch.tensor([1.0, 1.0, 0.0])
    for name, function in FUNCTIONS.items():
        assert float(function(s.double() * scale)) == pytest.approx(reference(name, s.tolist()))


def test_the_zero_spectrum_uses_no_direction() -> None:
    zero = torch.zeros(2, 5)
    for name, function in FUNCTIONS.items():
        expected = math.inf if name == "condition_number" else 0.0
        assert function(zero).tolist() == [expected] * 2, name
    assert spectra.energy_curve(zero).tolist() == [[0.0] * 5] * 2
    assert spectra.summary(torch.zeros(6, 3))["rank"] == 0


def test_energy_curve_is_what_truncation_keeps() -> None:
    table = gaussian(12, 5)
    u, s, vt = np.linalg.svd(table.numpy(), full_matrices=False)
    kept = [((u[:, :k] * s[:k]) @ vt[:k]) for k in range(1, 6)]
    expected = [1 - ((table.numpy() - part) ** 2).sum() / (s**2).sum() for part in kept]
    found = spectra.energy_curve(s)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    assert found[-1] == 1.0


def test_leading_share_of_energy() -> None:
    assert float(spectra.leading_share(torch.tensor([2.0, 1.0]), power=2)) == pytest.approx(0.8)


def test_popularity_alignment_matches_the_dense_svd(device: str) -> None:
    users, items = gaussian(3, 40, 4, seed=3), gaussian(3, 25, 4, seed=4)
    popularity = torch.arange(1, 26)
    found = spectra.popularity_alignment(users.to(device), items.to(device), popularity).cpu()
    leading = np.linalg.svd((users @ items.mT).numpy())[2][:, 0]
    expected = np.abs(leading @ popularity.numpy()) / np.linalg.norm(popularity.numpy())
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_popularity_alignment_at_its_ends() -> None:
    popularity = np.array([9, 5, 2, 0])
    aligned = torch.tensor(popularity)[:, None].double() @ torch.tensor([[1.0, -2.0]]).double()
    ones = torch.ones(7, 2)
    assert float(spectra.popularity_alignment(ones, -aligned, popularity)) == pytest.approx(1)
    other = torch.tensor([[0.0, 0], [0, 0], [0, 0], [3, 1]])
    assert float(spectra.popularity_alignment(ones, other, popularity)) == 0.0
    assert float(spectra.popularity_alignment(ones, 0 * other, popularity)) == 0.0


def test_a_batch_is_its_members(device: str) -> None:
    tables = gaussian(4, 30, 6).to(device)
    together = spectra.summary(tables)
    for r in range(4):
        for name, value in spectra.summary(tables[r]).items():
            torch.testing.assert_close(together[name][r], value, rtol=1e-10, atol=0)


def test_rank_is_not_fooled_by_rounding(device: str) -> None:
    low_rank = with_spectrum(5000, [3.0, 2.0, 1e-3, 0.0, 0.0, 0.0])
    for dtype in (torch.float64, torch.float32):
        table = low_rank.to(dtype).to(device)
        assert spectra.singular_values(table)[-1] > 0  # rounding has filled every direction
        assert int(spectra.numerical_rank(table)) == 3
    assert int(spectra.numerical_rank(low_rank.half())) == 2  # 1e-3 < 2^-11 ‖A‖_F
    assert spectra.numerical_rank(gaussian(2, 30, 4)).tolist() == [4, 4]
    half = torch.finfo(torch.float32).eps / 2  # of ‖A‖_F: what rounding can make
    for share, rank in ((1.1, 2), (0.9, 1)):
        assert int(spectra.numerical_rank(torch.diag(torch.tensor([1.0, share * half])))) == rank


@pytest.mark.parametrize("n, d", [(400, 40), (40, 400), (300, 300), (5000, 8)])
def test_random_reference_is_what_random_tables_show(n: int, d: int) -> None:
    s = spectra.singular_values(gaussian(4, n, d, seed=7))
    expected = spectra.random_reference(n, d)
    # the edge of a finite table lies a little inside its limit: more room where σ₁ is used
    for name, room in zip(expected, (0.003, 0.05, 0.01, 0.09), strict=True):
        assert float(FUNCTIONS[name](s).mean()) == pytest.approx(expected[name], rel=room), name


@pytest.mark.parametrize("y", [0.02, 0.3, 0.9, 1.0])
def test_random_reference_integrates_the_marchenko_pastur_density(y: float) -> None:
    low, high = 1 - y**0.5, 1 + y**0.5

    def mean(f) -> float:  # type: ignore[no-untyped-def]
        def integrand(x: float) -> float:
            inside = max((high**2 - x**2) * (x**2 - low**2), 0.0)
            return f(x) * math.sqrt(inside) / (math.pi * y * x)

        return scipy.integrate.quad(integrand, max(low, 1e-12), high, limit=500)[0]

    assert mean(lambda x: 1.0) == pytest.approx(1, rel=1e-6)
    m = mean(lambda x: x)
    entropy = mean(lambda x: -x / m * math.log(x / m))
    found = spectra.random_reference(1000, round(1000 * y))
    assert found["effective_rank"] == pytest.approx(1000 * y * math.exp(entropy), rel=1e-6)
    assert found["information_abundance"] == pytest.approx(1000 * y * m / high, rel=1e-6)
    ratio = 1000 * y * mean(lambda x: x**2) ** 2 / mean(lambda x: x**4)
    assert found["participation_ratio"] == pytest.approx(ratio, rel=1e-6)


# ----------------------------------------------------------------------------------- bad input

NAN = torch.tensor([[1.0, float("nan")], [float("inf"), 2.0]])
GOOD = torch.ones(3, 2)
SPARSE = scipy.sparse.csr_array(np.eye(5))


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: spectra.singular_values(NAN), r"table of shape \(2, 2\) has 2 NaN or infinite"),
        (lambda: spectra.singular_values(NAN, "gram"), "2 NaN or infinite"),
        (lambda: spectra.singular_values(torch.ones(3)), r"table has shape \(3,\)"),
        (lambda: spectra.singular_values(torch.ones(0, 3)), r"\(0, 3\); expected .* n >= 1"),
        (lambda: spectra.singular_values(torch.ones(2, 3, 0)), "d >= 1"),
        (lambda: spectra.singular_values(torch.ones(2, 2) * 1j), "complex"),
        (lambda: spectra.singular_values(np.array([["a", "b"]])), "dtype <U1"),
        (lambda: spectra.singular_values(GOOD, "fast"), "method is 'fast': expected one of svd"),
        (lambda: spectra.effective_rank(torch.tensor([1.0, -1.0])), "negative entry, -1.0"),
        (lambda: spectra.effective_rank(torch.tensor([1.0, 2.0])), "not sorted"),
        (lambda: spectra.stable_rank(torch.tensor([float("nan"), 1.0])), "s of shape .* 1 NaN"),
        (lambda: spectra.stable_rank(torch.tensor([])), r"shape \(0,\)"),
        (lambda: spectra.stable_rank(torch.tensor(1.0)), r"shape \(\)"),
        (lambda: spectra.leading_share(torch.ones(2), power=3), "power is 3: expected 1 or 2"),
        (lambda: spectra.product_singular_values(GOOD, GOOD.mT), "different last dimensions"),
        (lambda: spectra.product_singular_values(GOOD, NAN), "items of shape"),
        (lambda: spectra.product_singular_values(GOOD, GOOD, "svd"), "method is 'svd'"),
        (lambda: spectra.sparse_singular_values(SPARSE, 5), "k is 5 .* 1 <= k < 5"),
        (lambda: spectra.sparse_singular_values(SPARSE, 0), "k is 0"),
        (lambda: spectra.sparse_singular_values(np.eye(5), 2), "matrix is a ndarray"),
        (lambda: spectra.sparse_singular_values(SPARSE * 1j, 2), "complex"),
        (lambda: spectra.sparse_singular_values(SPARSE * math.nan, 2), "matrix of shape"),
        (lambda: spectra.popularity_alignment(GOOD, GOOD, [1, 2]), r"shape \(2,\); .* \(\*, 3\)"),
        (lambda: spectra.popularity_alignment(GOOD, GOOD, [0, 0, 0]), "only zero"),
        (lambda: spectra.popularity_alignment(GOOD, GOOD, [1, 2, -1]), "negative"),
        (lambda: spectra.random_reference(0, 3), "n, d are 0, 3"),
        (lambda: spectra.report(torch.ones(2, 3, 4)), r"\(2, 3, 4\); expected one \(n, d\)"),
        (lambda: spectra.report(GOOD, key="a"), "key is 'a'"),
        (lambda: spectra.report("table.csv"), "expected .npy, .pt or .pth"),
        (lambda: spectra.report(torch.nn.Embedding(3, 2)), r"is a Embedding; .* its \.weight"),
        (lambda: spectra.report(pd.DataFrame(np.eye(3))), r"is a DataFrame; .* its \.to_numpy"),
    ],
)
def test_bad_input_is_named(call, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=words):
        call()


# -------------------------------------------------------------------------------------- report


def test_report_reads_arrays_tensors_and_files(tmp_path: Path) -> None:
    table = gaussian(30, 4).float()
    np.save(tmp_path / "a.npy", table.numpy())
    torch.save(table, tmp_path / "a.pt")
    torch.save({"step": 3, "bias": torch.ones(4), "item": table}, tmp_path / "one.pth")
    torch.save({"model": {"user": GOOD, "item": table}}, tmp_path / "two.pt")
    expected = spectra.report(table).summary
    assert expected["effective_rank"] == float(spectra.summary(table)["effective_rank"])
    parameter = torch.nn.Parameter(table)
    for source in (table.numpy(), parameter, tmp_path / "a.npy", str(tmp_path / "a.pt")):
        assert spectra.report(source).summary == expected
    assert spectra.report(tmp_path / "one.pth").summary == expected
    found = spectra.report(tmp_path / "two.pt", key="model.item")
    assert found.summary == expected and found.name == "two.pt[model.item]"


def test_report_says_which_table_it_could_not_choose(tmp_path: Path) -> None:
    torch.save({"user": GOOD, "item": GOOD}, tmp_path / "two.pt")
    with pytest.raises(ValueError, match=r"2 tables .* one of \['user', 'item'\]"):
        spectra.report(tmp_path / "two.pt")
    with pytest.raises(ValueError, match="0 tables for key='bias'"):
        spectra.report(tmp_path / "two.pt", key="bias")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"save model\.state_dict"):
        spectra.report(tmp_path / "model.pt")
    (tmp_path / "broken.pt").write_bytes(b"not a tensor")
    with pytest.raises(ValueError, match=r"broken\.pt cannot be read"):
        spectra.report(tmp_path / "broken.pt")
    with pytest.raises(FileNotFoundError):
        spectra.report(tmp_path / "missing.npy")


def test_the_verdict_follows_from_the_values() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(500, 16, generator=generator)
    offset = noise + 10 * torch.ones(16)
    decay = with_spectrum(500, torch.logspace(0, -1.5, 16))
    steep = with_spectrum(500, torch.logspace(0, -4, 16))
    empty = torch.cat([noise[:, :12], torch.zeros(500, 4)], dim=1)
    empty[:7] = 0
    cases = {
        "nearly as flat as random numbers.": noise,
        "But some stand out: the stable rank is": with_spectrum(
            500, torch.tensor([2.5] + [1.0] * 15)
        ),
        "The mean row alone holds": offset,
        "unbalanced: some directions": decay,
        "collapsed into few directions": steep,
        "4 directions are empty. 7 of 500 rows are zero.": empty,
        "completely collapsed: almost one direction": noise[:, :1] @ torch.ones(1, 16),
        "Zero everywhere": torch.zeros(5, 4),
        "its only direction": noise[:, :1],
    }
    for words, table in cases.items():
        verdict = spectra.report(table).verdict
        assert words in verdict, verdict
        states = ("random numbers.", "unbalanced", "few directions", "completely collapsed")
        assert sum(state in verdict for state in states) == (table.any() and table.shape[1] > 1)
    text = str(spectra.report(noise))
    used = float(spectra.summary(noise)["effective_rank"])
    assert f"Uses {used:.1f} of 16 directions" in text and "500 rows × 16 dimensions" in text


@pytest.mark.parametrize("table", [gaussian(60, 5), torch.zeros(4, 3), gaussian(3, 8)])
def test_the_page_shows_the_picture_and_tells_it_in_words(table: torch.Tensor) -> None:
    pytest.importorskip("specrec_core.figures")
    found = spectra.report(table)
    assert len(found.figure().axes) == 3
    page = found._repr_html_()
    assert '<img src="data:image/png;base64,' in page and "<table>" in page
    assert f'alt="Three panels on table. Above: {min(table.shape)} singular values' in page
    assert page == found._repr_html_()  # a rebuilt book shows no difference


def test_names_are_escaped_on_the_page(tmp_path: Path) -> None:
    pytest.importorskip("specrec_core.figures")
    path = tmp_path / 'a"<b>.npy'
    np.save(path, GOOD.numpy())
    page = spectra.report(path)._repr_html_()
    assert "<b>" not in page and "&lt;b&gt;" in page
