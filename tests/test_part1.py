"""The counts that the claims use, without torch, are those of the library."""

from types import SimpleNamespace

import numpy as np
import pytest

from specrec_core import part1_spectra, spectra


@pytest.mark.parametrize("name", ["effective_rank", "information_abundance"])
def test_counts_without_torch_agree_with_the_library(name):
    s = np.sort(np.random.default_rng(0).random(20))[::-1]
    s[-3:] = 0
    expected = float(getattr(spectra, name)(s.copy()))
    assert getattr(part1_spectra, name)(s.tolist()) == pytest.approx(expected, rel=1e-12)


def test_narrowed_is_asked_of_both_tables_and_every_seed():
    test = part1_spectra.narrowed(part1_spectra.information_abundance)
    for last, holds in ((0.79, True), (0.81, False)):  # abundance 1.79 or 1.81 of 2
        spectrum = {f"initial {side}": [[1.0, 1.0]] * 2 for side in ("users", "items")}
        spectrum |= {"users": [[1.0, 0.5]] * 2, "items": [[1.0, 0.5], [1.0, last]]}
        assert test({"a": SimpleNamespace(spectrum=spectrum)})[0] is holds


@pytest.mark.parametrize(
    ("series", "end", "holds"),
    [
        ([8.0, 5.0, 6.0, 6.0], 5.6, True),
        ([8.0, 7.0, 5.0, 6.0], 5.6, False),  # lowest in the second half
        ([8.0, 5.0, 5.2, 5.4], 5.4, False),  # less than a tenth above
    ],
)
def test_a_dip_is_early_and_recovered_from_in_every_seed(series, end, holds):
    record = SimpleNamespace(
        metrics={"effective rank of items": [7.0, end]},
        history={"effective rank of items": [[8.0, 5.0, 6.0, 7.0], series],
                 "epoch": [[0, 4, 8, 12]] * 2},
        selected_epoch=[12, 12],
        training=SimpleNamespace(dim=8),
    )  # fmt: skip
    assert part1_spectra.dips_and_recovers({"a": record})[0] is holds


def test_scores_are_compared_with_the_narrower_table_and_widths_with_each_other():
    for rank, holds in ((3.9, True), (4.1, False)):
        sides = {"users": [6.0, 4.0], "items": [7.0, 5.0], "scores": [3.0, rank]}
        metrics = {f"effective rank of {side}": values for side, values in sides.items()}
        found = part1_spectra.scores_are_narrower({"a": SimpleNamespace(metrics=metrics)})
        assert found[0] is holds
    test = part1_spectra.emptier_when_wider(part1_spectra.information_abundance)
    for wide, holds in ((0.4, True), (0.6, False)):
        records = {
            str(dim): SimpleNamespace(
                training=SimpleNamespace(dim=dim),
                spectrum={"initial items": [[1.0, 1.0]], "items": [[1.0, last]]},
            )
            for dim, last in ((64, wide), (8, 0.5))  # not in the order of width
        }
        assert test(records)[0] is holds
