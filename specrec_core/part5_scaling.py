"""Part V, Scaling: what chapters 12, 13 and 14 claim of what `scaling_suites` measures."""

from __future__ import annotations

from specrec_core import scaling_claims as ask
from specrec_core.catalogue import Chapter
from specrec_core.claims import Claim, Comparison, Reported
from specrec_core.result_claims import chosen_on_validation
from specrec_core.scaling_claims import Planned
from specrec_core.scaling_suites import (
    BALANCES,
    CHOSEN,
    CLICK_MODELS,
    METRIC,
    NAMES,
    NOISE,
    PARTNERS,
    PATIENT,
    WIDTHS,
    balance_label,
    clicks_label,
    collapse_suite,
    noise_label,
    noise_suite,
    patient_label,
    scaling_label,
    scaling_suite,
    tuned_label,
    tuning_labels,
)  # fmt: skip

PANELS = {"bpr": "c", "neumf": "f", "lightgcn": "i", "sgl": "l"}  # those of ML-100K
RESTING = {"bpr": (2, 4), "lightgcn": (4, 16), "sgl": (16, 64)}  # stopped before they had begun
RISES_AND_STAYS = ("logarithmic", "flat", "other")
FIGURE: dict[tuple[str, str], tuple[str, ...]] = {  # as an eye sees it; (k) is a copy of (l)
    ("bpr", "ml-100k"): ("double peak",),
    ("neumf", "ml-100k"): ("double peak",),
    ("lightgcn", "ml-100k"): ("double peak",),
    ("sgl", "ml-100k"): RISES_AND_STAYS,
    ("bpr", "modcloth"): ("logarithmic",),
    ("neumf", "modcloth"): ("logarithmic",),
    ("lightgcn", "modcloth"): ("logarithmic",),
    ("sgl", "modcloth"): RISES_AND_STAYS,
    ("bpr", "douban-28"): ("double peak",),
    ("neumf", "douban-28"): ("double peak",),
    ("lightgcn", "douban-28"): ("single peak",),
}

PAPER = "He et al. 2025, figure 1 as we read it"
SUMMARY = "He et al. 2025, as summarised by others"
PREDICTION = "our prediction (2), from the hypothesis of four stages"
END = "abundance at the end"
CARRIED = {
    "fm": "our analogue of Guo et al. 2024, {}",
    "dcnv2": "Guo et al. 2024, {}, carried over",
}
NOISE_LABELS = tuple(f"svd noise={noise:g}" for noise in NOISE)
JOINED = "mean abundance, side by side"
TEN_SETS = (  # what is said, beside what, of which metric, where, a note
    ("ten sets have a higher AUC than one set of ten times the width", "SE", "auc", "table 1",
     "other data"),
    ("ten sets have a higher AUC than ten models, averaged", "ensemble", "auc", None, ""),
    ("ten sets, joined, have more mean abundance than one set of ten times the width", "SE",
     JOINED, "figure 8a",
     "other data; how the figure joins sets is not stated"),
)  # fmt: skip


def _labels(model: str, dataset: str) -> tuple[str, ...]:
    return tuple(scaling_label(model, dataset, width) for width in WIDTHS)


def _noisy(model: str, noise: float) -> tuple[str, ...]:
    return tuple(noise_label(model, noise, width) for width in WIDTHS)


CHAPTERS = {
    "12_double_peak": Chapter(
        title="Is a wider embedding a better one?",
        datasets=("ml-100k",),
        suite=scaling_suite,
        verdicts=(
            *(
                Planned(
                    f"{NAMES[model]} on {dataset}: "
                    + ("no second peak" if kinds == RISES_AND_STAYS else kinds[0]),
                    _labels(model, dataset),
                    ask.fewer_than_two_peaks(METRIC)
                    if kinds == RISES_AND_STAYS
                    else ask.has_shape(kinds, METRIC),
                    source=PAPER,
                )
                for (model, dataset), kinds in FIGURE.items()
            ),
            *(
                Comparison(
                    f"{NAMES[model]} on ml-100k, d = {width}: NDCG@20 among 100 sampled",
                    scaling_label(model, "ml-100k", width),
                    METRIC,
                    Reported.lookup("scaling_figure1", panel=panel, width=str(width)),
                    tolerance=0.02,
                    digits=3,
                    note="the tolerance is three times the second bumps of the figure",
                )
                for model, panel in PANELS.items()
                for width in (512, 4096)
            ),
            *(
                Claim(
                    f"{NAMES[model]}, d = {width}: trained for all epochs it gains "
                    f"{'at least' if width in RESTING[model] else 'less than'} 0.05 NDCG@20 over "
                    "the early stop",
                    (scaling_label(model, "ml-100k", width), patient_label(model, width)),
                    (ask.gains if width in RESTING[model] else ask.no_gain)(METRIC, 0.05),
                    source="our prediction, after a look at the runs with early stop",
                )
                for model, widths in PATIENT.items()
                for width in widths
            ),
            Claim(
                "BPR on ml-100k: from 4096 dimensions, the valley of the figure, to 8192, its "
                "second peak, NDCG@20 rises, intervals apart",
                (scaling_label("bpr", "ml-100k", 4096), scaling_label("bpr", "ml-100k", 8192)),
                ask.apart(METRIC),
                source=PAPER,
            ),
            Claim(
                "BPR on ml-100k, tuned: from 128 to 512 dimensions NDCG@20 rises, intervals apart",
                (tuned_label(128), tuned_label(512)),
                ask.apart(METRIC),
                source="this book, after a look at the grid",
            ),
            *(
                chosen_on_validation(f"BPR, d = {width}", tuning_labels(width), chosen)
                for width, chosen in CHOSEN.items()
            ),
            Claim(
                "BPR on ml-100k, d = 32 to 32768: one peak, and no second one",
                tuple(scaling_label("bpr", "ml-100k", w) for w in WIDTHS if w >= 32),
                ask.has_shape(("single peak",), METRIC),
                source="this book, after a look at the records up to 2048, extended as they grew",
                note="from where all runs have left the plateau",
            ),
            Claim(
                "SVD: sampled negatives and all items choose the same width, in every seed",
                ("svd",),
                ask.same_best_width,
                source="our expectation",
            ),
            Claim(
                "SVD: beyond the best width, NDCG@20 among all items loses the larger share",
                ("svd",),
                ask.falls_faster,
                source="our expectation, from the proposition on sampled negatives",
            ),
            Comparison(
                "SVD: standard deviation of NDCG@20 when the negatives are drawn anew",
                "svd",
                "deviation of draws",
                Reported.lookup(
                    "scaling_jitter",
                    quantity="standard deviation of validation NDCG@20 from epoch to epoch",
                ),
                tolerance=0.25,
                note="of BPR and LightGCN during training there, of a fixed SVD here",
            ),
        ),
    ),
    "13_robustness": Chapter(
        title="What does noise do to a wide embedding?",
        datasets=("ml-100k",),
        suite=noise_suite,
        verdicts=(
            *(
                Planned(
                    f"{NAMES[model]}: planted noise brings a second peak, or makes it larger",
                    tuple(label for noise in NOISE for label in _noisy(model, noise)),
                    ask.noise_makes_trained_peaks(METRIC),
                    source=PREDICTION,
                )
                for model in ("bpr", "neumf")
            ),
            Planned(
                "BPR has a second peak at some share of noise, and with dropping none there",
                tuple(x for m in ("bpr", "bpr-drop") for n in NOISE for x in _noisy(m, n)),
                ask.loses_second_peaks(
                    METRIC,
                    [noise_label("bpr", noise, 2).rpartition(" d=")[0] for noise in NOISE],
                    [noise_label("bpr-drop", noise, 2).rpartition(" d=")[0] for noise in NOISE],
                ),
                source=SUMMARY,
                note="the rule by which the paper drops is not known to us",
            ),
            *(
                Claim(
                    f"BPR: noise of {100 * noise:g} % takes a larger share of NDCG@20 at 512 "
                    "dimensions than at 32",
                    tuple(noise_label("bpr", p, w) for w in (32, 512) for p in (0.0, noise)),
                    ask.costs_more(METRIC),
                    source="the hypothesis of four stages",
                    note="widths chosen after a look at the runs with 30 % up to 256",
                )
                for noise in (0.3, 0.5)
            ),
            Claim(
                "SVD: planted noise brings a second peak, or makes it larger",
                NOISE_LABELS,
                ask.noise_makes_two_peaks,
                source="the hypothesis of four stages, carried over",
                note="the hypothesis is about trained models",
            ),
            Claim(
                "SVD: the more noise, the narrower the best width",
                NOISE_LABELS,
                ask.noise_narrows,
                source="our expectation",
            ),
            Claim(
                "SVD: the share of NDCG@20 that noise of 50 % takes grows with the width",
                (NOISE_LABELS[0], NOISE_LABELS[-1]),
                ask.noise_costs_width,
                source="our expectation",
            ),
            Claim(
                "SVD: dropping the least likely fifth hits noise at least twice as often as the "
                "rest, noise 30 %",
                ("svd noise=0.3 drop=0.2",),
                ask.drops_noise,
                source="our expectation",
            ),
            *(
                Claim(
                    f"SVD: dropping the least likely fifth raises the best NDCG@20, noise {share}",
                    (f"svd noise={noise}", f"svd noise={noise} drop=0.2"),
                    ask.dropping_helps,
                    source="the idea of BPR_Drop, carried over",
                )
                for noise, share in (("0", "none"), ("0.3", "30 %"), ("0.5", "50 %"))
            ),
            Claim(
                "SVD: with dropping, d = 128 keeps more of the best NDCG@20, noise 30 %",
                ("svd noise=0.3", "svd noise=0.3 drop=0.2"),
                ask.dropping_widens(128),
                source=f"{SUMMARY}: dropping makes large widths usable",
                note="added after a first look at the records",
            ),
        ),
    ),
    "14_collapse": Chapter(
        title="Why does a wide embedding collapse?",
        datasets=("ml-100k",),
        suite=collapse_suite,
        verdicts=(
            Claim(
                "Toy: beside a partner of 3 values a table ends with less information abundance "
                "than beside one of 100, in every seed",
                ("toy values=3", "toy values=100"),
                ask.below("toy values=3", "toy values=100", END),
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
                ask.grows_along(tuple(f"toy values={n}" for n in PARTNERS), END),
                source="our reading of Guo et al. 2024",
            ),
            Claim(
                "Toy: of two partners of 100 values, the one of rank 3 leaves the table less "
                "abundance, in every seed",
                ("toy values=100 rank=3", "toy values=100"),
                ask.below("toy values=100 rank=3", "toy values=100", END),
                source="our control",
            ),
            Claim(
                "Toy: abundance alone decides: a partner of 100 values and rank 3 does as much "
                "as one of 3 values, to 0.3",
                ("toy values=100 rank=3", "toy values=3"),
                ask.as_low("toy values=100 rank=3", "toy values=3", END, 0.3),
                source="our control",
            ),
            *(
                Claim(
                    f"{NAMES[model]} on ML-100K: {statement}, intervals apart",
                    (clicks_label(model, other, 10), clicks_label(model, "ME", 10)),
                    ask.apart(metric),
                    source=CARRIED[model].format(where) if where else "our control",
                    note=note,
                )
                for statement, other, metric, where, note in TEN_SETS
                for model in CLICK_MODELS
            ),
            Claim(
                "DCNv2 on ML-100K: one set gains less than 0.001 of AUC from ten times the width",
                (clicks_label("dcnv2", "SE", 1), clicks_label("dcnv2", "SE", 10)),
                ask.no_gain("auc", 0.001),
                source=CARRIED["dcnv2"].format("table 1"),
                note="other data",
            ),
            Claim(
                "DCNv2 on ML-100K, four times the width: the penalty raises the mean abundance, "
                "intervals apart",
                (clicks_label("dcnv2", "SE", 4), clicks_label("dcnv2", "SE regularised", 4)),
                ask.apart(JOINED),
                source="Guo et al. 2024, evidence III, carried over",
                note="other data",
            ),
            Claim(
                "DCNv2 on ML-100K, four times the width: the penalty does not raise the AUC",
                (clicks_label("dcnv2", "SE", 4), clicks_label("dcnv2", "SE regularised", 4)),
                ask.no_gain("auc", 0.001),
                source="Guo et al. 2024, evidence III, carried over",
                note="other data",
            ),
            *(
                Planned(
                    f"BPR as it is has a second peak on ML-100K; {NAMES[balance]}, it has none",
                    tuple(balance_label(x, w) for x in (BALANCES[0], balance) for w in WIDTHS),
                    ask.loses_second_peaks(METRIC, ["bpr none"], [f"bpr {balance}"]),
                    source="the question that joins both papers",
                )
                for balance in BALANCES[1:]
            ),
        ),
    ),
}  # fmt: skip
