"""How long spectra take: of tables, of scores, the norm of ReSN, and tracked while training."""

import pytest
import torch
from epochs import DIM, Specrec

from specrec_core import spectra, spectral_norm
from specrec_core.training import track_spectra


@pytest.mark.parametrize(
    ("name", "dim"), [("ml-1m", 64), ("ml-1m", 256), ("ml-1m", 1024), ("gowalla", 64)]
)
def test_tracking(in_turn, load, device, name, dim):
    """The spectra of both tables beside the epoch of BPR-MF after which they are tracked."""
    it = Specrec(load(name), device=device, dim=dim)
    works = {"epoch": (it.epochs, 1), "tracking": (lambda: track_spectra(1, it.model), 1)}
    rounds = 3 if dim > 256 else 9
    in_turn(works, device, rounds=rounds, work="tracking", data=name, dim=dim)


@pytest.mark.parametrize("method", ["svd", "gram"])
def test_singular_values(timed, method, device):
    """All singular values of a 40,981 × 64 table."""
    table = torch.randn(40_981, DIM, generator=torch.Generator().manual_seed(0)).to(device)
    timed(lambda: spectra.singular_values(table, method=method), device, rounds=5,
          work="singular values of 40,981 × 64", by=method,
          bytes=table.numel() * table.element_size())  # fmt: skip


def normal_tables(users, items, device, mean=0.0):
    stream = torch.Generator().manual_seed(0)
    return [torch.randn(n, DIM, generator=stream).add_(mean).to(device) for n in (users, items)]


def test_product_singular_values(timed, device):
    """σ of U Vᵀ for 29,858 users and 40,981 items, d = 64, from the factors."""
    tables = normal_tables(29_858, 40_981, device)
    timed(lambda: spectra.product_singular_values(*tables), device, rounds=5,
          work="singular values of scores, 29,858 × 40,981", by="factors")  # fmt: skip


WAYS = {  # to the square of the norm
    "one power step": spectral_norm.spectral_norm_penalty,
    "exact, from the factors": spectral_norm.exact_spectral_norm,
    "exact, of the scores": lambda users, items: torch.linalg.svdvals(users @ items.mT)[0] ** 2,
}


@pytest.mark.parametrize("items", [10**3, 10**4, 10**5, 10**6])
@pytest.mark.parametrize("way", list(WAYS))
def test_spectral_norm(benchmark, timed, way, items, device):
    """ReSN's approximation of σ₁ of U Vᵀ against exact ones: as many users as items, d = 64."""
    if way == "exact, of the scores" and items > 10**3:
        pytest.skip("the singular values of 10,000 × 10,000 scores take minutes, of more, hours")
    tables = normal_tables(items, items, device, mean=0.2)
    found = timed(lambda: WAYS[way](*tables), device, work="spectral norm", by=way, items=items)
    squared = spectral_norm.exact_spectral_norm(*tables)
    benchmark.extra_info["over exact"] = float(found / squared) ** 0.5
