"""Part III, Popularity: what chapters 6 and 7 claim of what `popularity_suites` measures."""

from __future__ import annotations

from specrec_core.catalogue import Chapter
from specrec_core.claims import LATER, Claim, Comparison, Reported
from specrec_core.popularity_claims import (
    aligned,
    below_a_law,
    closer_than_constant,
    ends_lower,
    falls_after_peak,
    falls_with_dimension,
    falls_with_width,
    in_order,
    leads_less_when_wider,
    no_closer_than_constant,
    overshoots,
    plausible_tail,
    rises_first,
    share_falls,
    speaks,
    spread_less,
    steep_enough,
)
from specrec_core.popularity_suites import (
    DESCENTS,
    GROWING,
    MEMORY,
    RATES,
    STARTS,
    TABLES,
    TRUNCATED,
    VERSIONS,
    WIDTHS,
    amplification_suite,
    descent_label,
    memory_suite,
    training_label,
)
from specrec_core.wording import words

SIGMOIDS = tuple(
    f"trained {name}, {title}"
    for title, names in MEMORY.items()
    if title != "BPR"
    for name in names
)
RAW = tuple(f"raw {name}" for name in VERSIONS)
BPR_WIDTHS = tuple(f"bpr d={d}" for d in WIDTHS)
CUT = tuple(f"truncated {name}" for name in TRUNCATED)
LIN = "Lin et al. 2025"
SUMMARISED = f"{LIN}, as summarised by others"
COMPARED = (  # metric, what it is, digits
    ("sigma 1", "σ₁", 2),
    ("sigma 2", "σ₂", 2),
    ("energy share", "share of σ₁² in all σ²", 4),
    ("cos(q1, r)", "cos(q₁, r)", 4),
    ("slope", "slope of popularity over rank, in logarithms", 3),
    ("one power step", "what one power step sees of σ₁", 2),
)
REFERENCED = ("ml-1m", "gowalla", "yelp2018", "coat")

CHAPTERS = {
    "06_popularity_memorised": Chapter(
        title="Where does a model keep popularity?",
        datasets=("ml-1m",),
        suite=memory_suite,
        verdicts=(
            Claim(
                "q₁ of trained scores has a cosine above 0.98 with popularity: BPR-MF, CiteULike",
                ("bpr d=64",),
                aligned(),
                source=f"{SUMMARISED}: often above 0.98",
                note="CiteULike is none of the paper's data sets; BPR has no activation",
            ),
            *(
                Claim(
                    f"The same after a sigmoid: {words(label)}",
                    (label,),
                    aligned(metric="cos(q1, r) of sigmoid"),
                    source=f"{SUMMARISED}: often above 0.98",
                    note="at the epoch that validation chose",
                )
                for label in SIGMOIDS
            ),
            Claim(
                "Before the sigmoid q₁ is closer to popularity than a constant is in none of them",
                SIGMOIDS,
                no_closer_than_constant,
                source="an earlier run with another implementation",
                note="in brackets the cosine of the constant vector",
            ),
            Claim(
                "q₁ of the interactions themselves is closer to popularity than a constant is",
                RAW,
                closer_than_constant,
                source="our expectation before the measurement",
                note="in brackets the cosine of the constant vector",
            ),
            Claim(
                "The bound of theorem 1, free of any law of popularity, says something about real "
                "interactions",
                RAW,
                speaks,
                source="a reading of the theorem",
                note="shown is what stands under its root; negative, the bound says nothing",
            ),
            *(
                Claim(
                    f"Item popularity has a power law for tail: {words(name)}",
                    (f"tail {name}",),
                    plausible_tail,
                    source=f"{LIN}, assumption of theorem 1",
                    note="p above 0.1; the theorem assumes the law for all items",
                )
                for name in VERSIONS
            ),
            Claim(
                "Popularity falls as steeply with rank as the corollary of theorem 1 needs: "
                "exponent above 1.73",
                tuple(f"tail {name}" for name in VERSIONS),
                steep_enough,
                source="a reading of the theorem",
                note="exponent of the fitted tail",
            ),
            Claim(
                "All of popularity lies below a power law of rank with an exponent above 1, which "
                "theorem 1 assumes",
                RAW,
                below_a_law,
                source="a reading of the theorem",
                note=r"shown is the largest $\alpha$ with $r_i \le r_{\max}\, i^{-\alpha}$ at the "
                "ranks recorded",
            ),
            *(
                Comparison(
                    f"{words(name)}: {title}",
                    f"raw {name}",
                    metric,
                    Reported.lookup("reference_popularity", dataset=name, metric=metric),
                    tolerance=0.005,
                    digits=digits,
                    group="Interactions against an earlier implementation, to its last digit",
                )
                for name in REFERENCED
                for metric, title, digits in COMPARED
            ),
        ),
    ),
    "07_amplification": Chapter(
        title="Why do fewer dimensions make the popular more popular?",
        suite=amplification_suite,
        verdicts=(
            Claim(
                "The fewer dimensions, the larger the share of recommendations that goes to the "
                "most popular group: truncated SVD",
                CUT,
                falls_with_dimension("head"),
                source=f"{SUMMARISED}: popularity bias grows as d falls",
                note="five groups of equal interactions; lists of 20; there is no training here",
            ),
            Claim(
                "The same for BPR-MF on CiteULike, trained",
                BPR_WIDTHS,
                falls_with_width("share[4]@20"),
                source=SUMMARISED,
                note="rate and penalty were tuned at d = 64 and used for all",
            ),
            Claim(
                "The fewer dimensions, the larger the share of σ₁ in the scores: BPR-MF on "
                "CiteULike, trained",
                BPR_WIDTHS,
                leads_less_when_wider,
                source=SUMMARISED,
                note="σ₁/Σσ; for truncated SVD it holds by definition, and before training too",
            ),
            *(
                Claim(
                    f"The fewer dimensions, the larger {what}: squared error, {words(name)}, "
                    "trained",
                    tuple(f"trained {name} d={d}" for d in dims),
                    falls_with_width(metric),
                    source=SUMMARISED + added,
                    note="no setting was tuned, for any dimension",
                )
                for name, (dims, _) in GROWING.items()
                for metric, what, added in (
                    ("share[4]@20", "the share of the head", ""),
                    ("share of sigma1 of scores", "the share of σ₁ before the sigmoid", ""),
                    (
                        "energy share of sigma1 of sigmoid",
                        "the share of σ₁² after the sigmoid",
                        LATER,
                    ),
                )
            ),
            Claim(
                "In training on ML-100K the share of σ₁ peaks at twice its last value or more, "
                "with every optimiser, from small tables",
                tuple(training_label(o, std) for o in RATES for std in TABLES[:2]),
                rises_first("share of sigma1 of scores", 2.0),
                source="a reading of the theorem on modes",
                note="peak and last value",
            ),
            Claim(
                "Once past their peaks the shares of σ₁ and of the head only fall, from every "
                "start, with every optimiser",
                tuple(training_label(o, std) for o in RATES for std in TABLES),
                falls_after_peak(("share of sigma1 of scores", "share[4]@20")),
                source=f"{SUMMARISED}: both fall over the epochs",
                note="by more than 0.01 they never rise again, in the mean over seeds",
            ),
            Claim(
                "After the sigmoid the share of σ₁² is smaller at the end of training than at its "
                "start, from every start, with every optimiser",
                tuple(training_label(o, std) for o in RATES for std in TABLES),
                ends_lower("energy share of sigma1"),
                source=f"{SUMMARISED}: it falls over the epochs{LATER}",
                note="of all scores near one half, which have one direction, at the start",
            ),
            *(
                Claim(
                    f"{title} learns larger singular values first, from small tables",
                    (descent_label(name, STARTS[0]),),
                    in_order,
                    source=SUMMARISED,
                    note="of at least 95 % of pairs of modes in every seed; the threshold is ours",
                )
                for name, title in (
                    ("gd", "Gradient descent"),
                    ("sgd", "SGD"),
                    ("momentum", "SGD with momentum"),
                    ("adam", "Adam"),
                    ("adamw", "AdamW"),
                )
            ),
            *(
                Claim(
                    f"So do all five from tables of standard deviation {std:g}",
                    tuple(descent_label(name, std) for name in DESCENTS),
                    in_order,
                    source="this book",
                    note="small and larger starts were one claim before a first look",
                )
                for std in STARTS[1:]
            ),
            Claim(
                "Adam spreads the modes over time less than half as widely as gradient descent",
                (descent_label("adam", 0.001), descent_label("gd", 0.001)),
                spread_less(descent_label("adam", 0.001), descent_label("gd", 0.001)),
                source="seen in a first run with one seed",
                note="last mode over first, in steps",
            ),
            Claim(
                "During training the share of σ₁ only falls",
                tuple(descent_label("gd", std) for std in STARTS),
                share_falls,
                source=f"{SUMMARISED}: it falls over the epochs",
                note="planted data, gradient descent, no sigmoid; by the theorem it has to rise "
                "first from a start at which all modes are equal",
            ),
            Claim(
                "From small initial tables σ₁ overshoots: at its peak its share is at least twice "
                "that of the data, whatever the optimiser",
                tuple(descent_label(name, 0.001) for name in DESCENTS),
                overshoots(tuple(descent_label(name, 0.001) for name in DESCENTS), 2.0),
                source="seen in a first run with one seed",
            ),
        ),
    ),
}
