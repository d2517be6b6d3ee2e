"""Part III, Popularity: what chapter 8 claims of what `resn_suites` trains and measures."""

from __future__ import annotations

from collections.abc import Callable

from specrec_core import resn_claims as asks
from specrec_core.catalogue import Chapter
from specrec_core.claims import LATER, Claim, Comparison, Reported
from specrec_core.resn_suites import (
    AGAINST_EVENED,
    CHOSEN,
    CODE,
    COMMON,
    CONSTANT,
    DOUBAN,
    EVEN,
    EVENED,
    FORMULA,
    FRONT,
    ON_COAT,
    RESHAPED,
    SIZES,
    STRONG,
    TRAINED,
    ablation_label,
    main_label,
    methods_on,
    resn_suite,
    rivals,
    time_label,
    tuning_labels,
)
from specrec_core.result_claims import chosen_on_validation
from specrec_core.wording import words

ASKED = (*TRAINED, DOUBAN)
PAIRS = tuple((main_label(CODE, where), main_label("MSE", where)) for where in (*ASKED, *ON_COAT))
PENALISED = {CODE: "MSE", FORMULA: "MSE", f"{FORMULA}, BPR": "BPR"}  # and the plain model of each
STRONGER = tuple((f"{where} {CODE}, strong", main_label("MSE", where)) for where in TRAINED)
LIN = "Lin et al. 2025"
UNVERIFIED = f"{LIN}, as an unverified summary has it"
EFFECTS: tuple[tuple[str, str, Callable[[tuple[str, str]], asks.Test]], ...] = (
    (
        "lowers the share of the head",
        "mitigates popularity bias",
        lambda pair: asks.lower(pair, asks.POPULAR),
    ),
    ("raises NDCG@20", "raises accuracy", lambda pair: asks.lower(pair[::-1], asks.ACCURACY)),
)
COUNTED = (  # two readings of "popular"
    ("the head, most popular items with a fifth of the interactions", asks.POPULAR, ""),
    ("the most popular fifth of the items", asks.MOST_POPULAR, LATER),
)
TIMED = tuple(time_label(n) for n in SIZES)


def _both(pairs: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    return tuple(label for pair in pairs for label in pair)


CHAPTERS = {
    "08_resn_results": Chapter(
        title="What does a smaller leading singular value change?",
        datasets=("ml-1m", "coat", "douban-movie"),
        suite=resn_suite,
        verdicts=(
            *(
                Claim(
                    f"ReSN lowers the share of popular items by up to 25.2 %: {counted}",
                    _both(PAIRS),
                    asks.up_to(PAIRS, metric, -0.252),
                    source=UNVERIFIED + added,
                    note="official code, strength chosen on validation; reproduced from nine "
                    "tenths of it on where intervals are apart; which items the paper calls "
                    "popular is not known",
                )
                for counted, metric, added in COUNTED
            ),
            *(
                Claim(
                    f"It does at β = {STRONG[CODE]['strength']:g}, which validation does not "
                    f"choose: {counted}",
                    _both(STRONGER),
                    asks.up_to(STRONGER, metric, -0.252),
                    source="this book" + added,
                )
                for counted, metric, added in COUNTED
            ),
            Claim(
                "ReSN raises NDCG@20 by up to 14.4 %",
                _both(PAIRS),
                asks.up_to(PAIRS, asks.ACCURACY, 0.144),
                source=UNVERIFIED,
                note="reproduced from nine tenths of it on where intervals are apart",
            ),
            Claim(
                "On the evened split there is a strength at which both hold: fewer places for the "
                "head and a higher NDCG@20",
                EVENED,
                asks.both_somewhere(EVENED[:-1], EVENED[-1]),
                source=f"{LIN}, abstract: mitigates popularity bias and raises accuracy",
                note="official code; intervals apart; the best of the strengths "
                "on test, which no selection rule of ours finds",
            ),
            *(
                Claim(
                    f"{method} {what}: {words(where)}",
                    (pair := (main_label(method, where), main_label(plain, where))),
                    test(pair),
                    source=f"{LIN}, abstract: {source}"
                    + LATER * (method != CODE or where in ON_COAT),
                    note="intervals apart, at the strength chosen on validation",
                )
                for method, plain in PENALISED.items()
                for where in (*ASKED, *ON_COAT)
                if method in methods_on(where)
                for what, source, test in EFFECTS
            ),
            *(
                Claim(
                    "Formula at β = 0.01, ML-1M: with the direction held constant "
                    f"{what} is smaller than with the gradient through it",
                    (ablation_label(COMMON, CONSTANT, 0.01), f"{COMMON} {FORMULA}, strong"),
                    asks.lower(
                        (ablation_label(COMMON, CONSTANT, 0.01), f"{COMMON} {FORMULA}, strong"),
                        metric,
                    ),
                    source="this book, after a look at the runs; explained by exercise 2",
                    note="intervals apart; three seeds against five",
                )
                for what, metric in (
                    ("σ₁ of the scores", "sigma1 of scores"),
                    ("the share of the head", asks.POPULAR),
                )
            ),
            Claim(
                "In the range of head shares that both reach, ReSN (code) dominates its rivals "
                "and is dominated by none: ML-1M",
                (*rivals(COMMON), *FRONT),
                asks.better_front(rivals(COMMON), FRONT),
                source=f"{LIN}, as summarised by others: ReSN dominates",
                note="every setting of every grid but those of the L2 penalty; one seed",
            ),
            Claim(
                "The same on the evened split: ML-1M",
                (*AGAINST_EVENED, *EVENED[:-1], main_label(CODE, EVEN)),
                asks.better_front(AGAINST_EVENED, (*EVENED[:-1], main_label(CODE, EVEN))),
                source=f"{LIN}, as summarised by others: ReSN dominates",
                note="rivals at the setting validation chose on the common split",
            ),
            Claim(
                "One power step takes a hundredth of the time of a decomposition of all scores",
                TIMED[:3],
                asks.faster("scores", "one power step with gradient", 100),
                source=UNVERIFIED,
                note="two to three orders of magnitude; the step with its gradient",
            ),
            Claim(
                "It takes a hundredth of the time of an exact norm from the factors",
                TIMED,
                asks.faster("factors", "one power step with gradient", 100),
                source="our question",
            ),
            Claim(
                "One power step sees at least nine tenths of σ₁ of real interactions",
                tuple(f"seen {name}" for name in RESHAPED),
                asks.sees("steps=1", 0.9),
                source="our question; the paper's estimate rests on it",
                note="best approximations of rank 64",
            ),
            *(
                Claim(
                    "It sees nine tenths of σ₁ of models that were trained against the estimate: "
                    f"{loss}, ML-1M",
                    (*tuning_labels(method, COMMON), *further),
                    asks.sees("one power step over sigma1 of scores", 0.9),
                    source="our question",
                    note="every strength that was run; one seed on the grid",
                )
                for loss, method, further in (
                    ("squared error", FORMULA, (f"{COMMON} {FORMULA}, strong",)),
                    ("BPR", f"{FORMULA}, BPR", ()),
                )
            ),
            Claim(
                "Without its leading direction a truncated SVD gives the head a tenth fewer "
                "places, on every data set",
                tuple(f"reshaped {name}" for name in RESHAPED),
                asks.falls_when_smaller("scaled: head", 0.1),
                source="the premise of ReSN, as we read it",
            ),
            *(
                Comparison(
                    f"{title}, d = 256, plain",
                    main_label("MSE", COMMON),
                    metric,
                    Reported.lookup("reference_resn", dim="256", strength="0", metric=metric),
                    tolerance=0.05,
                    digits=digits,
                    note="the reference has one seed, trains on all of train, selects on test",
                )
                for metric, title, digits in (
                    ("ndcg@20", "NDCG@20", 4),
                    ("recall@20", "recall@20", 4),
                    ("share[4]@20", "share of the head", 3),
                    ("share of the most popular 20%@20", "share of the most popular fifth", 3),
                    ("cos(q1, r) of sigmoid", "cos(q₁, r) after the sigmoid", 3),
                    ("cos(q1, r) of scores", "cos(q₁, r) before it", 2),
                )
            ),
            *(
                chosen_on_validation(
                    f"{words(where)}, {method}", tuning_labels(method, where), best
                )
                for where, chosen in CHOSEN.items()
                for method, best in chosen.items()
                if method in methods_on(where)
            ),
        ),
    ),
}
