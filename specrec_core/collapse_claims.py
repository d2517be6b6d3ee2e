"""Part V, Scaling: what chapter 14 asks of the abundance of tables and of their projections."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from specrec_core.claims import mean_interval, show
from specrec_core.records import Record

Floats = NDArray[np.float64]


def projected(record: Record) -> Floats:
    """Abundance of E_i W_{i→j}ᵀ of one set of tables, ``(R, N, N)``, i before j."""
    return np.array(record.history["projected abundance"], dtype=float)[:, 0]


def of_tables(record: Record) -> Floats:
    """Abundance of each table E_j, ``(R, N)``."""
    return np.array(record.history["abundance"], dtype=float)


def partner_share(record: Record) -> Floats:
    """What a partner j leaves of another table's abundance, beside other partners: ``(R, N)``.

    Each row of the map, without its diagonal, over its mean; then the mean of each column.
    """
    found = projected(record).copy()
    alone = np.arange(found.shape[1])
    found[:, alone, alone] = np.nan
    return np.asarray(np.nanmean(found / np.nanmean(found, 2, keepdims=True), 1))


def along_partners(record: Record) -> Floats:
    """Spearman's correlation of `partner_share` with the partner's own abundance, ``(R,)``."""
    from scipy.stats import spearmanr

    found = zip(partner_share(record), of_tables(record), strict=True)
    return np.array([spearmanr(share, own).statistic for share, own in found])


def grows_with_the_partner(records: Mapping[str, Record]) -> tuple[bool, str]:
    """`along_partners` is positive: the 95 % interval over seeds lies above 0."""
    (record,) = records.values()
    values = [float(x) for x in along_partners(record)]
    mean, half = mean_interval(values)
    return mean > half, f"Spearman's correlation {show(values, 2)}"


def raises_projected(records: Mapping[str, Record]) -> tuple[bool, str]:
    """The mean projected abundance rises from each record to the next, intervals apart."""
    values = [[float(x) for x in projected(r).mean((1, 2))] for r in records.values()]
    ends = [(mean - half, mean + half) for mean, half in map(mean_interval, values)]
    holds = all(low[1] < high[0] for low, high in pairwise(ends))
    return holds, " and ".join(show(v, 2) for v in values)
