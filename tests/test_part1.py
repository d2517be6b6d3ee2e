"""The counts that the claims use, without torch, are those of the library."""

import numpy as np
import pytest

from specrec_core import part1_spectra, spectra


@pytest.mark.parametrize("name", ["effective_rank", "information_abundance"])
def test_counts_without_torch_agree_with_the_library(name):
    s = np.sort(np.random.default_rng(0).random(20))[::-1]
    s[-3:] = 0
    expected = float(getattr(spectra, name)(s.copy()))
    assert getattr(part1_spectra, name)(s.tolist()) == pytest.approx(expected, rel=1e-12)
