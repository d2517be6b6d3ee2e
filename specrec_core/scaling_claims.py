"""Part V, Scaling: what the claims of its chapters ask of records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from specrec_core import shapes
from specrec_core.claims import DEVIATES, Claim, Verdict, show
from specrec_core.records import Experiment, Record
from specrec_core.shapes import Shape
from specrec_core.wording import listed, names

RESTED = 32  # the width from which on all runs of BPR on ML-100K have left the plateau
Test = Callable[[Mapping[str, Record]], tuple[bool, str]]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Planned(Claim):
    """A claim about experiments that the chapter's suite may not have yet: `not run yet` then.

    Once the records of ``first`` are there, the claim fails by them alone if ``early`` does.
    """

    first: tuple[str, ...] = ()
    early: Test | None = None

    def verdict(self, records: Mapping[str, Record | None]) -> Verdict:
        found = {label: records.get(label) for label in self.needs}
        if self.early is not None and any(record is None for record in found.values()):
            shown = Claim(self.statement, self.first, self.early, self.source, self.note)
            decided = shown.verdict({label: found[label] for label in self.first})
            if decided.verdict == DEVIATES:
                return decided
        return super().verdict(found)


def study_curve(record: Record, name: str) -> tuple[list[float], Floats]:
    """Widths ``(T,)`` and values ``(R, T)`` of a study that has a curve over widths."""
    widths = record.history["width"]
    if any(w != widths[0] for w in widths):
        raise ValueError("the seeds of the record have different widths: expected the same")
    return [float(w) for w in widths[0]], np.array(record.history[name], dtype=float)


def trained_curve(records: Sequence[Record], metric: str) -> tuple[list[float], Floats]:
    """Widths ``(T,)`` and values ``(R, T)`` of one experiment at each of T widths.

    The width is that of all sets of tables together, where there are several.
    """
    found: dict[float, list[float]] = {}
    for record in records:
        made = record.experiment
        if not isinstance(made, Experiment):
            raise ValueError(f"{made.kind} is a study: expected a trained model")
        found[float(made.dim * (made.sets or 1))] = record.metrics[metric]
    counts = {len(values) for values in found.values()}
    if len(counts) != 1 or len(found) != len(records):
        raise ValueError(
            f"the records have {sorted(counts)} seeds and {len(found)} widths: expected one "
            f"number of seeds and {len(records)} widths"
        )
    widths = sorted(found)
    return widths, np.array([found[w] for w in widths], dtype=float).T


def described(shape: Shape) -> str:
    """A shape in a few words, and how far a peak had to stand out to count."""
    at = " and ".join(f"{p.width:g}" for p in shape.peaks)
    share = f" in {shape.share:.0%} of bootstrap samples" if shape.shares else ""
    where = f" at {at} dimensions" if at else ""
    return f"{shape.kind}{where}{share}, threshold {shape.threshold:.4f}"


def has_shape(kinds: Sequence[str], metric: str) -> Test:
    """The curve of trained models over widths has one of these shapes."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        shape = shapes.classify(*trained_curve(list(records.values()), metric))
        return shape.kind in kinds, described(shape)

    return test


def _trained_shapes(records: Mapping[str, Record], metric: str) -> dict[str, Shape]:
    """The shape of each curve: labels that differ in the width at their end alone are one.

    From `RESTED` on: left of it runs that rest beside others that do not make the spread so large
    that no peak of the figure's size could pass.
    """
    curves: dict[str, list[Record]] = {}
    for label, record in records.items():
        name, _, width = label.rpartition(" d=")
        if int(width) >= RESTED:
            curves.setdefault(name, []).append(record)
    return {k: shapes.classify(*trained_curve(found, metric)) for k, found in curves.items()}


def _second(shape: Shape) -> float:
    """Prominence of the second most prominent peak, 0 where there is none."""
    return max(sorted((peak.prominence for peak in shape.peaks), reverse=True)[1:2], default=0.0)


def _grows(found: Mapping[str, Shape]) -> tuple[bool, str]:
    """With some share of noise the second peak is larger than without, by the threshold."""
    clean, *noisy = found.values()
    needed = max(shape.threshold for shape in found.values())
    holds = max(map(_second, noisy)) > _second(clean) + needed
    return holds, listed({k: described(s) for k, s in found.items()})


def noise_makes_trained_peaks(metric: str) -> Test:
    """The first curve is without noise; with some share of it a second peak comes or grows."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        return _grows(_trained_shapes(records, metric))

    return test


def loses_second_peaks(metric: str, plain: Sequence[str], changed: Sequence[str]) -> Test:
    """Some plain curve has two peaks or more, and wherever one has, its changed curve has not.

    ``plain`` and ``changed`` are the labels of curves, without the width, pair by pair.
    """

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        found = _trained_shapes(records, metric)
        peaked = [
            (found[a], found[b])
            for a, b in zip(plain, changed, strict=True)
            if len(found[a].peaks) >= 2
        ]
        holds = bool(peaked) and all(len(after.peaks) < 2 for _, after in peaked)
        return holds, listed({name: described(s) for name, s in found.items()})

    return test


def has_second_peaks(metric: str) -> Test:
    """Some curve has two peaks or more."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        found = _trained_shapes(records, metric)
        shown = listed({name: described(s) for name, s in found.items()})
        return any(len(s.peaks) >= 2 for s in found.values()), shown

    return test


def fewer_than_two_peaks(metric: str) -> Test:
    """The curve of trained models over widths has no second peak."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        shape = shapes.classify(*trained_curve(list(records.values()), metric))
        return len(shape.peaks) < 2, described(shape)

    return test


def noise_makes_two_peaks(records: Mapping[str, Record]) -> tuple[bool, str]:
    """Of an SVD among all items: with some share of noise a second peak comes or grows."""
    return _grows({k: shapes.classify(*study_curve(r, "all ndcg@20")) for k, r in records.items()})


def noise_narrows(records: Mapping[str, Record]) -> tuple[bool, str]:
    """The best width does not grow with noise, and is smaller with the most than with none."""
    best = {}
    for label, record in records.items():
        widths, curves = study_curve(record, "all ndcg@20")
        best[label] = widths[int(curves.mean(0).argmax())]
    values = list(best.values())
    holds = all(b <= a for a, b in pairwise(values))
    holds &= values[-1] < values[0]
    return holds, listed({k: f"d = {v:g}" for k, v in best.items()})


def noise_costs_width(records: Mapping[str, Record]) -> tuple[bool, str]:
    """The share of quality that noise takes grows with every doubling of the width."""
    clean, noisy = records.values()
    widths, before = study_curve(clean, "all ndcg@20")
    _, after = study_curve(noisy, "all ndcg@20")
    lost = 1 - after.mean(0) / before.mean(0)
    holds = bool((np.diff(lost) > 0).all())
    shown = ", ".join(f"{w:g}: {x:.1%}" for w, x in zip(widths, lost, strict=True))
    return holds, f"lost at d = {shown}"


def drops_noise(records: Mapping[str, Record]) -> tuple[bool, str]:
    """Dropping hits planted pairs at least twice as often as others, in every seed."""
    (record,) = records.values()
    noise, clean = record.metrics["noise dropped"], record.metrics["clean dropped"]
    holds = all(a >= 2 * b for a, b in zip(noise, clean, strict=True))
    return holds, f"dropped {show(noise, 3)} of the noise, {show(clean, 3)} of the rest"


def dropping_helps(records: Mapping[str, Record]) -> tuple[bool, str]:
    """With dropping, the best NDCG@20 over widths is larger, in every seed."""
    plain, dropped = records.values()
    best = [study_curve(r, "all ndcg@20")[1].max(1) for r in (plain, dropped)]
    return bool((best[1] > best[0]).all()), f"{show(best[0])} without, {show(best[1])} with"


def dropping_widens(width: int) -> Test:
    """Of the best NDCG@20 over widths, more is kept at ``width`` with dropping, in every seed."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        kept = []
        for record in records.values():
            widths, curves = study_curve(record, "all ndcg@20")
            kept.append(curves[:, widths.index(width)] / curves.max(1))
        return bool(
            (kept[1] > kept[0]).all()
        ), f"{show(kept[0], 2)} without, {show(kept[1], 2)} with"

    return test


def largest_affordable(labels: Sequence[str], chosen: str, part: float) -> Test:
    """Of strengths, plain first, the chosen is the last with less than that part of the loss.

    Of the validation score of the plain run, one seed each.
    """

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        metric = records[labels[0]].training.metric
        scores = {x: records[x].metrics[f"validation {metric}"][0] for x in labels}
        least = (1 - part) * scores[labels[0]]
        fits = [label for label in labels if scores[label] > least]
        shown = ", ".join(f"{score:.3f}" for score in scores.values())
        said = f"validation {metric.upper()} {shown}; the largest that fits: "
        return fits[-1] == chosen, said + (names(labels)[fits[-1]])

    return test


def same_best_width(records: Mapping[str, Record]) -> tuple[bool, str]:
    """Sampled negatives and all items choose the same width, in every seed."""
    (record,) = records.values()
    best = []
    for name in ("sampled ndcg@20", "all ndcg@20"):
        widths, curves = study_curve(record, name)
        best.append([widths[i] for i in curves.argmax(1)])
    return best[0] == best[1], ", ".join(
        f"{name}: d = {', '.join(f'{w:g}' for w in sorted(set(b)))}"
        for name, b in zip(("sampled", "all"), best, strict=True)
    )


def falls_faster(records: Mapping[str, Record]) -> tuple[bool, str]:
    """From the best width to the largest, ranking all items loses a larger share, every seed."""
    (record,) = records.values()
    kept = []
    for name in ("sampled ndcg@20", "all ndcg@20"):
        curves = study_curve(record, name)[1]
        kept.append(curves[:, -1] / curves.max(1))
    return bool(
        (kept[1] < kept[0]).all()
    ), f"kept {show(kept[0], 2)} sampled, {show(kept[1], 2)} all"
