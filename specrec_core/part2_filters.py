"""Part II, Filters: what its chapters train, and what they claim."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from specrec_core import directspec_suites
from specrec_core.baselines import CITEULIKE_BPR
from specrec_core.catalogue import Chapter, Suite, scaled
from specrec_core.claims import Claim, Comparison, Reported, Verdict, show
from specrec_core.records import Experiment, Record
from specrec_core.result_claims import chosen_on_validation

# Positives alone, by gradient descent on batches: rates are those of the reference runs, large
# because the loss is a mean over the batch.
POSITIVES_ALONE = Experiment(
    dataset="citeulike",
    version="directspec@21e0ebe, official split",
    dim=64,
    epochs=100,
    seeds=(0, 1, 2, 3, 4),
    loss="logistic_alignment",
    optimizer="sgd",
    learning_rate=102.4,
    init_std=0.02,
    batch_size=1024,
    evaluate_every=5,
    patience=20,  # never stops: it is the end that is wanted
)
UNIT, PLAIN, PENALTY = "unit vectors", "inner products", "inner products, penalty"
# The same as an independent re-implementation has them: positives drawn by users.
AS_REFERENCE = POSITIVES_ALONE.with_(
    seeds=(0,),
    init="xavier",
    init_std=0.1,  # the default: not used
    positives="users",
    drop_last=True,
    validation=0.0,
    patience=10,
)


def low_pass_suite(profile: str, data: str) -> Suite:
    """Three ways to pull positives together alone: ours, and as the reference has them."""
    base, other = (scaled(e, profile, data) for e in (POSITIVES_ALONE, AS_REFERENCE))
    return {
        UNIT: base.with_(loss="alignment", learning_rate=40.0),
        PLAIN: base,
        PENALTY: base.with_(l2=0.02),
        f"reference, {UNIT}": other.with_(normalised=True, learning_rate=40.0),
        f"reference, {PLAIN}": other,
        f"reference, {PENALTY}": other.with_(l2=0.02),
    }


def _at_the_end(record: Record, side: str) -> list[float]:
    return [series[-1] for series in record.history[f"effective rank of {side}"]]


def ends(
    side: str, least: float, most: float
) -> Callable[[Mapping[str, Record]], tuple[bool, str]]:
    """The effective rank of one table at the end lies between two numbers, in every seed."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        (record,) = records.values()
        ranks = _at_the_end(record, side)
        return least < min(ranks) and max(ranks) < most, f"{side} end at {show(ranks, 1)}"

    return test


def keeps_falling(records: Mapping[str, Record]) -> tuple[bool, str]:
    """Users lose two directions in the last half, and five times as many as without a penalty.

    By seed.
    """
    lost = {}
    for label, record in records.items():
        series = record.history["effective rank of users"]
        lost[label] = [s[len(s) // 2] - s[-1] for s in series]
    pairs = zip(lost[PENALTY], lost[PLAIN], strict=True)
    holds = all(a > max(5 * b, 2.0) for a, b in pairs)
    return holds, ", ".join(f"{label}: lost {show(values, 1)}" for label, values in lost.items())


# Losses with negatives, tuned alike: the grid and the budget of BPR in chapter 5.
LOSSES: dict[str, Experiment] = {
    "BPR": CITEULIKE_BPR,
    "cross-entropy, c = 1": CITEULIKE_BPR.with_(loss="bce"),
    "cross-entropy, c = 5": CITEULIKE_BPR.with_(loss="bce", negatives=5),
    "softmax, c = 5": CITEULIKE_BPR.with_(loss="sampled_softmax", negatives=5),
    "squared error, c = 1": CITEULIKE_BPR.with_(loss="mse"),
}
RATES_AND_PENALTIES = [(r, p) for r in (1e-3, 2e-3) for p in (1e-3, 3e-3)]
BEST = {  # position in the grid with the best validation NDCG@10; see the claim
    "BPR": 1,
    "cross-entropy, c = 1": 1,
    "cross-entropy, c = 5": 0,
    "softmax, c = 5": 0,
    "squared error, c = 1": 0,
}


ALIGNMENT = "alignment"
FULL = 0.95  # of d: nearly all directions


def loss_labels(loss: str) -> list[str]:
    """The labels of the grid of one loss, in its order."""
    return [f"tuning {loss}, rate {r:g}, penalty {p:g}" for r, p in RATES_AND_PENALTIES]


def losses_suite(profile: str, data: str) -> Suite:
    """Five losses with negatives, on their grid and with five seeds; and alignment, as tuned."""
    alignment = directspec_suites.results_suite(profile, data)["MF alignment"]
    suite: Suite = {ALIGNMENT: alignment}
    for loss, base in LOSSES.items():
        base = scaled(base, profile, data)
        rate, penalty = RATES_AND_PENALTIES[BEST[loss]]
        suite[loss] = base.with_(learning_rate=rate, l2=penalty)
        for label, (r, p) in zip(loss_labels(loss), RATES_AND_PENALTIES, strict=True):
            suite[label] = base.with_(learning_rate=r, l2=p, seeds=(100,))
    return suite


def fuller_than_alignment(
    loss: str, lowest: bool = False
) -> Callable[[Mapping[str, Record]], tuple[bool, str]]:
    """In every seed and for both tables the loss ends between alignment and a full table.

    ``lowest``: not where each ends, but at the epoch where each has the fewest directions.
    """

    def ranks(record: Record, side: str) -> Sequence[float]:
        name = f"effective rank of {side}"
        return [min(run) for run in record.history[name]] if lowest else record.metrics[name]

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        found = {
            (label, side): ranks(records[label], side)
            for label in (ALIGNMENT, loss)
            for side in ("users", "items")
        }
        full = FULL * records[loss].training.dim
        holds = all(
            max(found[ALIGNMENT, side]) < min(found[loss, side]) and max(found[loss, side]) < full
            for side in ("users", "items")
        )
        return holds, ", ".join(f"{x}, {side} {show(v, 1)}" for (x, side), v in found.items())

    return test


def one_stands_out(first: str, second: str) -> Callable[[Mapping[str, Record]], tuple[bool, str]]:
    """At every setting of its grid the first loss has the larger σ₁/σ₂ of items, and scores of a
    lower effective rank, than the second at any."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        ratios, ranks = {}, {}
        for loss in (first, second):
            grid = [records[label] for label in loss_labels(loss)]
            ratios[loss] = [s[0] / s[1] for r in grid for s in r.spectrum["items"]]
            ranks[loss] = [x for r in grid for x in r.metrics["effective rank of scores"]]
        holds = min(ratios[first]) > max(ratios[second]) and max(ranks[first]) < min(ranks[second])
        return holds, ", ".join(
            f"{loss}: σ₁/σ₂ {min(ratios[loss]):.2f} to {max(ratios[loss]):.2f}, scores "
            f"{min(ranks[loss]):.1f} to {max(ranks[loss]):.1f}"
            for loss in (first, second)
        )

    return test


@dataclasses.dataclass(frozen=True)
class AtTheEnd(Comparison):
    """A `Comparison` of what a series has come to at the last epoch, not at the best one."""

    def verdict(self, records: Mapping[str, Record | None]) -> Verdict:
        record = records[self.label]
        if record is None:
            return super().verdict(records)
        last = [series[-1] for series in record.history[self.metric]]
        metrics = dict(record.metrics) | {self.metric: last}
        return super().verdict({self.label: dataclasses.replace(record, metrics=metrics)})


CHAPTERS = {
    "02_low_pass": Chapter(
        title="What happens if we only pull positives together?",
        datasets=("citeulike",),
        suite=low_pass_suite,
        verdicts=(
            Claim(
                "Alignment of unit vectors collapses the users to fewer than two directions",
                (UNIT,),
                ends("users", 0.0, 2.0),
                source="Peng et al. 2024, abstract: positives alone end in one representation",
            ),
            Claim(
                "Logistic alignment of inner products, without a penalty, collapses as well",
                (PLAIN,),
                ends("users", 0.0, 2.0),
                source="Peng et al. 2024, read as a statement on every loss",
                note="it slows down, as the proposition on saturation has it",
            ),
            Claim(
                "With a penalty on the norms the collapse goes on",
                (PLAIN, PENALTY),
                keeps_falling,
                source="this book",
                note="over the second half of the epochs: more than two directions, five times as "
                "many as without the penalty",
            ),
            *(
                AtTheEnd(
                    f"{label}: effective rank of users after 100 epochs",
                    f"reference, {label}",
                    "effective rank of users",
                    Reported.lookup(
                        "reference_citeulike", method=label, metric="effective rank of users"
                    ),
                    tolerance=0.05,
                    digits=2,
                    note="one seed each; start, sampling and data as the reference has them",
                )
                for label in (UNIT, PLAIN, PENALTY)
            ),
        ),
    ),
    "03_high_pass": Chapter(
        title="What do negatives do to the spectrum?",
        datasets=("citeulike",),
        suite=losses_suite,
        verdicts=(
            *(
                Claim(
                    f"{loss}: negatives relieve collapse in part, more directions than alignment "
                    "and fewer than nearly all",
                    (ALIGNMENT, loss),
                    fuller_than_alignment(loss),
                    source="Peng et al. 2024, abstract",
                    note=f"nearly all: {FULL:.0%} of d; each at its best epoch on validation",
                )
                for loss in LOSSES
            ),
            *(
                Claim(
                    f"{loss}: at its lowest during training more directions than alignment at its "
                    "own, and fewer than nearly all",
                    (ALIGNMENT, loss),
                    fuller_than_alignment(loss, lowest=True),
                    source="this book",
                    note="posed after looking at the runs; alignment is lowest at its last epoch",
                )
                for loss in LOSSES
            ),
            Claim(
                "Cross-entropy, c = 1, has a first direction of the items that stands out more "
                "than BPR's, and scores of fewer directions",
                tuple(x for loss in ("cross-entropy, c = 1", "BPR") for x in loss_labels(loss)),
                one_stands_out("cross-entropy, c = 1", "BPR"),
                source="this book",
                note="posed after looking at the runs; at every setting of the grids against "
                "every setting, one seed each",
            ),
            *(chosen_on_validation(loss, loss_labels(loss), BEST[loss]) for loss in LOSSES),
        ),
    ),
    "04_directspec": Chapter(
        title="Can we balance the spectrum directly?", datasets=("citeulike",)
    ),
}
