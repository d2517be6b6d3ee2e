"""Part V, Scaling: what chapter 14 claims of what `scaling_suites` measures."""

from __future__ import annotations

from specrec_core import collapse_claims as collapse
from specrec_core import gain_claims as compare
from specrec_core import scaling_claims as ask
from specrec_core.catalogue import Chapter
from specrec_core.claims import Claim, Comparison, Reported
from specrec_core.scaling_claims import Planned
from specrec_core.scaling_suites import (
    BALANCES,
    CLICK_MODELS,
    METRIC,
    NAMES,
    PARTNERS,
    PENALTIES,
    PENALTY,
    WIDTHS,
    balance_label,
    clicks_label,
    collapse_suite,
    penalty_label,
)
from specrec_core.wording import power

END = "abundance at the end"
PENALISED = tuple(balance_label(balance, 512) for balance in BALANCES[:2])
CARRIED = {
    "fm": "our analogue of Guo et al. 2024, {}",
    "dcnv2": "Guo et al. 2024, {}, carried over",
}
JOINED = "mean abundance, side by side"
TEN_SETS = (  # what is said, beside what, of which metric, where, a note
    ("ten sets have a higher AUC than one set of ten times the width", "SE", "auc", "table 1",
     "other data"),
    ("ten sets have a higher AUC than ten models, averaged", "ensemble", "auc", None, ""),
    ("ten sets, joined, have more mean abundance than one set of ten times the width", "SE",
     JOINED, "figure 8a",
     "other data; how the figure joins sets is not stated"),
)  # fmt: skip

CHAPTERS = {
    "14_collapse": Chapter(
        title="Why does a wide embedding collapse?",
        datasets=("ml-100k",),
        suite=collapse_suite,
        verdicts=(
            Claim(
                "Toy: beside a partner of 3 values a table ends with less information abundance "
                "than beside one of 100, in every seed",
                ("toy values=3", "toy values=100"),
                compare.below("toy values=3", "toy values=100", END),
                source="Guo et al. 2024, figure 4 of the first version",
            ),
            *(
                Comparison(
                    f"Toy: abundance after 5000 iterations, partner of {n} values",
                    f"toy values={n}",
                    END,
                    Reported.lookup(
                        "collapse_toy", partner=str(n), seed="mean", iteration="5000"
                    ),
                    tolerance=0.1,
                    digits=2,
                    note="other random numbers; ours, too, with K = 10",
                )
                for n in (3, 100)
            ),
            Claim(
                "Toy: the more values the partner has, the more abundance the table keeps",
                tuple(f"toy values={n}" for n in PARTNERS),
                compare.grows_along(tuple(f"toy values={n}" for n in PARTNERS), END),
                source="our reading of Guo et al. 2024",
            ),
            Claim(
                "Toy: of two partners of 100 values, the one of rank 3 leaves the table less "
                "abundance, in every seed",
                ("toy values=100 rank=3", "toy values=100"),
                compare.below("toy values=100 rank=3", "toy values=100", END),
                source="our control",
            ),
            Claim(
                "Toy: abundance alone decides: a partner of 100 values and rank 3 does as much "
                "as one of 3 values, to 0.3",
                ("toy values=100 rank=3", "toy values=3"),
                compare.as_low("toy values=100 rank=3", "toy values=3", END, 0.3),
                source="our control",
            ),
            *(
                Claim(
                    f"{NAMES[model]} on ML-100K: {statement}, intervals apart",
                    (clicks_label(model, other, 10), clicks_label(model, "ME", 10)),
                    compare.apart(metric),
                    source=CARRIED[model].format(where) if where else "our control",
                    note=note,
                )
                for statement, other, metric, where, note in TEN_SETS
                for model in CLICK_MODELS
            ),
            Claim(
                "DCNv2 on ML-100K: one set gains less than 0.001 of AUC from ten times the width",
                (clicks_label("dcnv2", "SE", 1), clicks_label("dcnv2", "SE", 10)),
                compare.no_gain("auc", 0.001),
                source=CARRIED["dcnv2"].format("table 1"),
                note="other data",
            ),
            *(
                Claim(
                    f"DCNv2 on ML-100K, {scale}× the width: what a cross layer makes of a table "
                    "has the more abundance, the more the partner has",
                    (clicks_label("dcnv2", "SE", scale),),
                    collapse.grows_with_the_partner,
                    source="Guo et al. 2024, evidence II, carried over",
                    note="other data; the measure is ours, after a look at the runs",
                )
                for scale in (1, 4, 10)
            ),
            *(
                Claim(
                    f"DCNv2 on ML-100K, four times the width: the penalty raises {what}",
                    (clicks_label("dcnv2", "SE", 4), clicks_label("dcnv2", "SE regularised", 4)),
                    test,
                    source="Guo et al. 2024, evidence III, carried over",
                    note=note,
                )
                for what, test, note in (
                    ("the mean abundance of projected tables, intervals apart",
                     collapse.raises_projected, "other data; what the penalty acts on"),
                    ("the mean abundance of the tables themselves by 5 % or more",
                     compare.raises(JOINED, 0.05), "other data; the size is ours"),
                )
            ),
            Claim(
                "DCNv2 on ML-100K, four times the width: the penalty does not raise the AUC",
                (clicks_label("dcnv2", "SE", 4), clicks_label("dcnv2", "SE regularised", 4)),
                compare.no_gain("auc", 0.001),
                source="Guo et al. 2024, evidence III, carried over",
                note="other data",
            ),
            Claim(
                f"BPR with 64 dimensions: of three strengths {power(PENALTY)} is the largest "
                "penalty that costs less than a fiftieth of NDCG@20 on validation",
                tuple(map(penalty_label, PENALTIES)),
                ask.largest_affordable(
                    [*map(penalty_label, PENALTIES)], penalty_label(PENALTY), 0.02
                ),
                note="the strength that all widths have",
            ),
            *(
                Claim(
                    f"BPR with 512 dimensions on ML-100K: that penalty {what}",
                    labels,
                    compare.apart(metric),
                    source="this book, after a look at narrower ones",
                    note="intervals apart",
                )
                for what, labels, metric in (
                    ("raises the effective rank of items", PENALISED, "effective rank of items"),
                    ("lowers sampled NDCG@20", PENALISED[::-1], METRIC),
                )
            ),
            Claim(
                "From 64 to 512 dimensions BPR loses a larger share of sampled NDCG@20 with that "
                "penalty than as it is",
                tuple(balance_label(x, w) for x in BALANCES[:2] for w in (64, 512)),
                compare.costs_more(METRIC),
                source="this book, after a look at narrower ones",
                note="as it is, it gains",
            ),
            *(
                Planned(
                    f"BPR as it is has a second peak on ML-100K; {NAMES[balance]}, it has none",
                    tuple(balance_label(x, w) for x in (BALANCES[0], balance) for w in WIDTHS),
                    ask.loses_second_peaks(METRIC, ["bpr none"], [f"bpr {balance}"]),
                    first=tuple(balance_label(BALANCES[0], w) for w in WIDTHS),
                    early=ask.has_second_peaks(METRIC),
                    note="decided by BPR as it is",
                    source="the question that joins both papers",
                )
                for balance in BALANCES[1:]
            ),
        ),
    ),
}  # fmt: skip
