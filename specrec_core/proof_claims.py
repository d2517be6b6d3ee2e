"""Part IV, Spikes: what the claims of chapter 10 ask of its records."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from specrec_core.claims import mean_interval, show
from specrec_core.records import Record
from specrec_core.wording import LEADING

Test = Callable[[Mapping[str, Record]], tuple[bool, str]]


NAMES: tuple[tuple[str, str], ...] = (  # of chapter 10, where d is a mean degree
    (r"^exponent n=8000$", "exponent, 8000 items"),
    (r"^exponent (\w+)$", r"exponent, θ \1"),
    (r"^pareto$", "θ pareto"),
    (r"^merging ", "merging, "),
    (r"^ppmi m=(\d{4})$", r"\1 playlists"),
    (r"^ppmi m=(\d+)(\d{3})$", r"\1,\2 playlists"),
    (r"^ppmi ", "playlists, "),
    (r"\bd=(\d+)", r"mean degree \1"),
    (r"\bb=([\d.]+)", r"b/a = \1"),
    (r"\bnoise=([\d.]+)", r"noise \1"),
    (r"\b([fK])=(\d+)", r"\1 = \2"),
    (r"\btheta (?!constant)(\w+)", r"θ \1"),
    (r"\btheta constant", "constant θ"),
    (r"(?<!,) expectation$", ", expectation"),
)
MEASURES = {
    "norm against theta": "norm against θ",
    "ppmi: CV of norms": "CV of norms, PPMI",
    "counts: CV of norms": "CV of norms, counts",
    "Spk": "Spk in %",
}


def named(label: str) -> str:
    """``planted b=0.4 expectation`` is ``b/a = 0.4, expectation``."""
    label = LEADING.sub("", label)
    for pattern, name in NAMES:
        label = re.sub(pattern, name, label)
    return label


def measured(metric: str) -> str:
    """What a metric is, in words."""
    return MEASURES.get(metric, re.sub(r"\bf=(\d+)", r"f = \1", metric))


def mean(record: Record, metric: str) -> float:
    return mean_interval([v for v in record.metrics[metric] if v is not None])[0]


def every_seed(label: str, metric: str, low: float, high: float, digits: int = 3) -> Test:
    """The metric lies between two numbers in every seed."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        values = records[label].metrics[metric]
        return low <= min(values) and max(values) <= high, show(values, digits)

    return test


def formula_holds(records: Mapping[str, Record]) -> tuple[bool, str]:
    """The first-order formula is within a tenth of what was measured, averaged over groups."""
    found = {label: r.metrics["measured over predicted"] for label, r in records.items()}
    holds = all(abs(v - 1) <= 0.1 for values in found.values() for v in values)
    return holds, "measured over predicted: " + ", ".join(
        f"{show(v, 3)} ({named(label)})" for label, v in found.items()
    )


def merges_as_predicted(label: str) -> Test:
    """Rays of US reach cosine 0.9 within 5 % of the predicted b/a, in every seed."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        values = records[label].metrics["US merges at"]
        (predicted,) = set(records[label].metrics["US predicted"])
        known = [v for v in values if v is not None]
        holds = len(known) == len(values) and all(abs(v / predicted - 1) <= 0.05 for v in known)
        return holds, f"{show(known, 3) if known else 'never'}, predicted {predicted:.3f}"

    return test


def exponent_slides(records: Mapping[str, Record]) -> tuple[bool, str]:
    """Near 1 at f = K, never rising by more than 0.01, and ½ at f = n."""
    (record,) = records.values()
    ends = []
    holds = True
    for series in record.history["slope inside"]:
        holds &= abs(series[0] - 1) < 0.05 and abs(series[-1] - 0.5) < 1e-6
        holds &= all(b <= a + 0.01 for a, b in pairwise(series))
        ends.append(series[0])
    return holds, f"{show(ends, 3)} at f = 8, then down to 0.500 at f = n"


def ranks_as_degree(labels: Sequence[str], least: float) -> Test:
    """Inside communities the Spearman correlation of norm and degree is at least ``least``."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        found = {label: records[label].metrics["norm against degree"] for label in labels}
        holds = all(min(values) >= least for values in found.values())
        return holds, ", ".join(f"{named(k)}: {show(v, 3)}" for k, v in found.items())

    return test


def flattens(records: Mapping[str, Record]) -> tuple[bool, str]:
    """The spread under PPMI falls with the playlists, and is always below that of the counts."""
    spread = [mean(r, "ppmi: CV of norms") for r in records.values()]
    raw = [mean(r, "counts: CV of norms") for r in records.values()]
    holds = all(b < a for a, b in pairwise(spread))
    holds &= all(a < b for a, b in zip(spread, raw, strict=True))
    parts = zip(records, spread, raw, strict=True)
    return holds, ", ".join(f"{named(label)}: {a:.2f} (counts {b:.2f})" for label, a, b in parts)


def blind_to_blobs(records: Mapping[str, Record]) -> tuple[bool, str]:
    """Spk of blobs is at most that of spikes, with less than a third of the spread of norms."""
    blobs, spikes = records["planted theta constant"], records["planted d=80"]
    holds = mean(blobs, "Spk") <= mean(spikes, "Spk") * 1.1
    holds &= mean(blobs, "CV of norms") < mean(spikes, "CV of norms") / 3
    return holds, ", ".join(
        f"{name}: Spk {mean(r, 'Spk'):.3f} %, CV {mean(r, 'CV of norms'):.3f}"
        for name, r in (("constant θ", blobs), ("Pareto θ", spikes))
    )


def no_assortativity_needed(records: Mapping[str, Record]) -> tuple[bool, str]:
    """Communities that avoid themselves have spikes as sharp, and labels as certain, as others."""
    paired, plain = records["planted paired"], records["planted d=80"]
    holds = min(paired.metrics["accuracy"]) > 0.99
    holds &= mean(paired, "cosine to ray") > mean(plain, "cosine to ray") - 0.005
    return holds, (
        f"cosine to ray {show(paired.metrics['cosine to ray'])} against "
        f"{show(plain.metrics['cosine to ray'])}, accuracy {show(paired.metrics['accuracy'], 3)}"
    )
