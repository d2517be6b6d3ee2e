"""Part V, Scaling: what chapter 13 claims of what noise does, measured in `scaling_suites`."""

from __future__ import annotations

from specrec_core import gain_claims as compare
from specrec_core import scaling_claims as ask
from specrec_core.catalogue import Chapter
from specrec_core.claims import LATER, Claim
from specrec_core.scaling_claims import Planned
from specrec_core.scaling_suites import (
    METRIC,
    MODELS,
    NAMES,
    NOISE,
    WIDTHS,
    noise_label,
    noise_suite,
)

SUMMARY = "He et al. 2025, as summarised by others"
PREDICTION = "our prediction (2), from the hypothesis of four stages"
NOISE_LABELS = tuple(f"svd noise={noise:g}" for noise in NOISE)


def _noisy(model: str, noise: float) -> tuple[str, ...]:
    return tuple(noise_label(model, noise, width) for width in WIDTHS)


def _pairs(noise: float, models: tuple[str, ...], width: int) -> list[tuple[str, str]]:
    """The labels without and with noise."""
    return [(noise_label(m, 0.0, width), noise_label(m, noise, width)) for m in models]


CHAPTERS = {
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
                first=tuple(x for n in NOISE for x in _noisy("bpr", n)),
                early=ask.has_second_peaks(METRIC),
                source=SUMMARY,
                note="the rule by which the paper drops is not known to us",
            ),
            Claim(
                "BPR, 512 dimensions, noise 30 %: leaving out the fifth of the triples with the "
                "largest loss raises NDCG@20, intervals apart",
                (noise_label("bpr", 0.3, 512), noise_label("bpr-drop", 0.3, 512)),
                compare.apart(METRIC),
                source=f"{SUMMARY}: dropping makes large widths usable",
                note="rule, share and schedule are ours",
            ),
            Planned(
                "noise of 30 % takes a larger share of NDCG@20 from BPR and NeuMF than from "
                "LightGCN, and from LightGCN than from SGL, at 512 dimensions",
                tuple(noise_label(m, p, 512) for m in MODELS for p in (0.0, 0.3)),
                compare.loses_in_order(
                    METRIC,
                    [
                        [(noise_label(m, 0.0, 512), noise_label(m, 0.3, 512)) for m in group]
                        for group in (("bpr", "neumf"), ("lightgcn",), ("sgl",))
                    ],
                ),
                source=SUMMARY,
                note="the order is reported; width, share and measure are ours",
            ),
            *(
                Claim(
                    f"BPR: noise of {100 * noise:g} % takes a larger share of NDCG@20 at 512 "
                    "dimensions than at 32",
                    tuple(noise_label("bpr", p, w) for w in (32, 512) for p in (0.0, noise)),
                    compare.costs_more(METRIC),
                    source="the hypothesis of four stages",
                    note="widths chosen after a look at the runs with 30 % up to 256",
                )
                for noise in (0.3, 0.5)
            ),
            *(
                Claim(
                    f"BPR: noise of {100 * noise:g} % deepens the valley: it takes a larger share "
                    "of NDCG@20 at 4096 dimensions, where the reported valley is, than at 512",
                    tuple(noise_label("bpr", p, w) for w in (512, 4096) for p in (0.0, noise)),
                    compare.costs_more(METRIC),
                    source=PREDICTION + LATER,
                )
                for noise in (0.3, 0.5)
            ),
            *(
                Claim(
                    f"BPR: with noise of {100 * noise:g} % NDCG@20 rises from 4096 dimensions to "
                    "8192, where the second peak is reported",
                    (noise_label("bpr", noise, 4096), noise_label("bpr", noise, 8192)),
                    compare.raises(METRIC),
                    source=PREDICTION,
                    note="posed after a look at the runs up to 4096",
                )
                for noise in (0.3, 0.5)
            ),
            Claim(
                "noise of 30 % takes a larger share of NDCG@20 on validation from BPR and NeuMF "
                "than from LightGCN and SGL at 512 dimensions, each at the last epoch that all of "
                "its runs reach, intervals apart",
                tuple(noise_label(m, p, 512) for m in MODELS for p in (0.0, 0.3)),
                compare.takes_more_late(
                    _pairs(0.3, ("bpr", "neumf"), 512), _pairs(0.3, ("lightgcn", "sgl"), 512)
                ),
                source="this book, after a look at the runs",
                note="the same epoch with and without noise, no early stop",
            ),
            *(
                Claim(
                    f"BPR: noise of {100 * noise:g} % takes a larger share of NDCG@20 on "
                    "validation at 512 dimensions than at 32, at the last epoch that all of these "
                    "runs reach, intervals apart",
                    tuple(noise_label("bpr", p, w) for w in (32, 512) for p in (0.0, noise)),
                    compare.takes_more_late(
                        _pairs(noise, ("bpr",), 512), _pairs(noise, ("bpr",), 32), shared=True
                    ),
                    source="this book, after a look at the runs",
                    note="the same epoch with and without noise, no early stop",
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
}  # fmt: skip
