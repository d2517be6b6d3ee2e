"""Part V, Scaling: what chapter 12 claims of what `scaling_suites` measures."""

from __future__ import annotations

from specrec_core import gain_claims as compare
from specrec_core import scaling_claims as ask
from specrec_core.catalogue import Chapter
from specrec_core.claims import LATER, Claim, Comparison, Reported
from specrec_core.reported import number
from specrec_core.result_claims import chosen_on_validation
from specrec_core.scaling_claims import Planned
from specrec_core.scaling_suites import (
    CHOSEN,
    LEAVES,
    METRIC,
    NAMES,
    PATIENT,
    WIDTHS,
    patient_label,
    scaling_label,
    scaling_suite,
    tuned_label,
    tuning_labels,
)  # fmt: skip
from specrec_core.wording import words

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
SGL_GAIN = number("scaling_headline", quantity="gain of SGL in NDCG@20 from scaling")


def _labels(model: str, dataset: str, least: int = 2) -> tuple[str, ...]:
    return tuple(scaling_label(model, dataset, width) for width in WIDTHS if width >= least)


def _about(model: str, dataset: str) -> str:
    """What the note of a claim about a shape says: which widths, or why there are none."""
    if dataset != "ml-100k":
        return "data not to be had"
    least = LEAVES[model]
    if least == WIDTHS[0]:
        return ""
    said = f"from {least} dimensions on: further left runs rest"
    if model == "bpr":
        said += "; the reported bump is below the threshold: the row on 4096 to 8192 decides"
    return said


CHAPTERS = {
    "12_double_peak": Chapter(
        title="Is a wider embedding a better one?",
        datasets=("ml-100k",),
        suite=scaling_suite,
        verdicts=(
            *(
                Planned(
                    f"{NAMES[model]} on {words(dataset)}: "
                    + ("no second peak" if kinds == RISES_AND_STAYS else kinds[0]),
                    _labels(model, dataset, LEAVES[model] if dataset == "ml-100k" else 2),
                    ask.fewer_than_two_peaks(METRIC)
                    if kinds == RISES_AND_STAYS
                    else ask.has_shape(kinds, METRIC),
                    source=PAPER,
                    note=_about(model, dataset),
                )
                for (model, dataset), kinds in FIGURE.items()
            ),
            *(
                Comparison(
                    f"{NAMES[model]} on ML-100K, d = {width}: NDCG@20 among 100 sampled",
                    scaling_label(model, "ml-100k", width),
                    METRIC,
                    Reported.lookup("scaling_figure1", panel=panel, width=str(width)),
                    tolerance=0.02,
                    digits=3,
                    note="the tolerance, 2 % of the value, is about three times BPR's second bump",
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
                    (compare.gains if width in RESTING[model] else compare.no_gain)(METRIC, 0.05),
                    source="our prediction, after a look at the runs with early stop",
                )
                for model, widths in PATIENT.items()
                for width in widths
            ),
            *(
                Planned(
                    f"{NAMES[model]} on ML-100K: logarithmic, or flat",
                    _labels(model, "ml-100k", LEAVES[model]),
                    ask.has_shape(("logarithmic", "flat"), METRIC),
                    source=SUMMARY,
                    note=_about(model, "ml-100k"),
                )
                for model in ("lightgcn", "sgl")
            ),
            *(
                Claim(
                    f"SGL on ML-100K: from {start} dimensions to the best width up to 512 NDCG@20 "
                    f"gains {SGL_GAIN:.2%} or more",
                    tuple(scaling_label("sgl", "ml-100k", w) for w in WIDTHS if start <= w <= 512),
                    compare.gains_along(METRIC, scaling_label("sgl", "ml-100k", start), SGL_GAIN),
                    source=SUMMARY + later,
                    note=f"on which data and from where it gains so much is not known; {where}",
                )
                for start, later, where in (
                    (
                        64,
                        "",
                        "64 dimensions are the toolkit's, where SGL rests; a wider one could only "
                        "add to this gain, so it does not wait for them",
                    ),
                    (LEAVES["sgl"], LATER, "from there on no run rests"),
                )
            ),
            Claim(
                "BPR on ML-100K: from 4096 dimensions, the valley of the figure, to 8192, its "
                "second peak, NDCG@20 rises, intervals apart",
                (scaling_label("bpr", "ml-100k", 4096), scaling_label("bpr", "ml-100k", 8192)),
                compare.apart(METRIC),
                source=PAPER,
            ),
            Claim(
                "BPR on ML-100K, tuned: from 128 to 512 dimensions NDCG@20 rises, intervals apart",
                (tuned_label(128), tuned_label(512)),
                compare.apart(METRIC),
                source="this book, after a look at the grid",
            ),
            *(
                chosen_on_validation(f"BPR, d = {width}", tuning_labels(width), chosen)
                for width, chosen in CHOSEN.items()
            ),
            Claim(
                "BPR on ML-100K, d = 32 to 32,768: one peak, and no second one",
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
}  # fmt: skip
