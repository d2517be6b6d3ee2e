"""Part II, Filters: what chapter 5 claims about balanced spectra as recommenders."""

from __future__ import annotations

from specrec_core import directspec_suites, result_claims
from specrec_core.catalogue import Chapter
from specrec_core.claims import LATER, Claim, Comparison, Reported
from specrec_core.wording import words

CHOSEN, GRAPH_CHOSEN = directspec_suites.CHOSEN, directspec_suites.GRAPH_CHOSEN
VARIANTS = {"single τ": "DirectSpec+", "adaptive": "DirectSpec+ adaptive"}
UNTUNED_RATE = (
    "the rate of DirectSpec was not tuned, and it is best at the first epoch that was looked at"
)
CHAPTERS = {
    "05_directspec_results": Chapter(
        title="How much does a balanced spectrum bring?",
        datasets=("citeulike",),
        suite=directspec_suites.results_suite,
        verdicts=(
            *(
                Comparison(
                    f"{title} of {label}",
                    label,
                    metric,
                    Reported.lookup("reference_citeulike", method=label, metric=metric),
                    tolerance=0.03,
                    digits=digits,
                    note="the reference has one seed" if metric == "ndcg@10" else "",
                )
                for label, metric, title, digits in (
                    ("official MF", "ndcg@10", "NDCG@10", 4),
                    ("official MF", "ndcg@20", "NDCG@20", 4),
                    ("official MF", "recall[truncated]@10", "truncated recall@10", 4),
                    ("official MF", "recall@20", "recall@20", 4),
                    ("official MF", "ndcg[eleven]@10", "NDCG@10 with eleven positions", 4),
                    ("official MF", "recall[eleven]@10", "truncated recall@10, 11 positions", 4),
                    ("official MF, adaptive", "ndcg@10", "NDCG@10", 4),
                )
            ),
            *(
                Claim(
                    f"{label} keeps the effective rank of both tables near d throughout",
                    (label,),
                    result_claims.stays_full,
                    source="Peng et al. 2024, abstract",
                    note=f"near: at least {result_claims.NEARLY:.0%} of d; an untrained table "
                    "passes too",
                )
                for label in ("official MF", "MF DirectSpec", "MF DirectSpec+")
            ),
            Claim(
                "MF BPR keeps the effective rank of both tables near d throughout",
                ("MF BPR",),
                result_claims.stays_full,
                source="this book",
                note="posed after looking at the runs, as the counterpart of the lines above: at "
                "its best epoch BPR is as full as they are",
            ),
            *(
                Claim(
                    f"Alignment leaves fewest directions of {side}, BPR more, DirectSpec+ most",
                    ("MF alignment", "MF BPR", "MF DirectSpec+"),
                    result_claims.ordered("MF alignment", "MF BPR", "MF DirectSpec+", side),
                    source="Peng et al. 2024, abstract: negatives relieve collapse in part",
                    note="each at its best epoch on validation",
                )
                for side in ("users", "items")
            ),
            *(
                Claim(
                    f"MF: official DirectSpec+, {variant}, brings up to 52.6 % of NDCG@10 over a "
                    "tuned BPR",
                    (label, "MF BPR, all of train"),
                    result_claims.gains(label, "MF BPR, all of train", 0.526),
                    source=result_claims.SECOND_HAND,
                    note="reproduced from nine tenths of it on; data set and tuning of the "
                    f"paper's figure are not known; all of train, epoch {epochs}, where its file "
                    "stops",
                )
                for variant, label, epochs in (
                    ("single τ", "official MF", 300),
                    ("adaptive", "official MF, adaptive", 50),
                )
            ),
            *(
                Claim(
                    f"MF: DirectSpec+, {variant}, tuned like BPR brings up to 52.6 % of NDCG@10",
                    (f"MF {method}", "MF BPR"),
                    result_claims.gains(f"MF {method}", "MF BPR", 0.526),
                    source=result_claims.SECOND_HAND,
                    note="nine tenths of train, selected on validation",
                )
                for variant, method in VARIANTS.items()
            ),
            Claim(
                "MF: DirectSpec+, single τ, ranks better than BPR with half the rate of its grid",
                ("MF DirectSpec+", directspec_suites.HALVED_MAIN),
                result_claims.better("MF DirectSpec+", directspec_suites.HALVED_MAIN),
                source="this book" + LATER,
                note="NDCG@10, intervals apart; BPR with twice the epochs and the patience as well",
            ),
            *(
                Claim(
                    f"LightGCN: DirectSpec+, {variant}, brings up to 42.4 % of NDCG@10 over a "
                    "tuned LightGCN",
                    (f"LightGCN {method}", "LightGCN BPR"),
                    result_claims.gains(f"LightGCN {method}", "LightGCN BPR", 0.424),
                    source=result_claims.SECOND_HAND,
                    note="nine tenths of train, selected on validation; grids of four each",
                )
                for variant, method in VARIANTS.items()
            ),
            *(
                Claim(
                    f"LightGCN: official DirectSpec+, {variant}, brings up to 42.4 % of NDCG@10 "
                    "over a tuned LightGCN",
                    (label, "LightGCN BPR, all of train"),
                    result_claims.gains(label, "LightGCN BPR, all of train", 0.424),
                    source=result_claims.SECOND_HAND + LATER,
                    note=f"all of train, epoch {epochs}, where its file stops",
                )
                for variant, label, epochs in (
                    ("single τ", "official LightGCN", 200),
                    ("adaptive", "official LightGCN, adaptive", 390),
                )
            ),
            Claim(
                "DirectSpec+ on MF, single τ, brings up to 42.4 % of NDCG@10 over a tuned LightGCN",
                ("MF DirectSpec+", "LightGCN BPR"),
                result_claims.gains("MF DirectSpec+", "LightGCN BPR", 0.424),
                source=result_claims.SECOND_HAND + LATER,
                note="the same sentence read in another way: which encoder it means is not known",
            ),
            *(
                Claim(
                    f"DirectSpec+ needs fewer epochs than BPR: {encoder}",
                    (f"{encoder} DirectSpec+", f"{encoder} BPR"),
                    result_claims.needs_fewer_epochs(f"{encoder} DirectSpec+", f"{encoder} BPR"),
                    source=result_claims.SECOND_HAND + LATER * (encoder != "MF"),
                    note=f"to {result_claims.NEARLY:.0%} of its own best validation NDCG@10; an "
                    f"epoch has {steps} as many steps",
                )
                for encoder, steps in (("MF", "four times"), ("LightGCN", "twice"))
            ),
            *(
                Claim(
                    f"{encoder}: {first} ranks better than {second}",
                    (f"{encoder} {first}", f"{encoder} {second}"),
                    result_claims.better(f"{encoder} {first}", f"{encoder} {second}"),
                    source=source,
                    note="; ".join(("NDCG@10, intervals apart", *more)),
                )
                for encoder, first, second, source, *more in (
                    (
                        "MF",
                        "DirectSpec+",
                        "DirectSpec",
                        "Peng et al. 2024, abstract",
                        UNTUNED_RATE,
                    ),
                    ("MF", "DirectSpec+ adaptive", "DirectSpec+", "the official code offers both"),
                    ("MF", "DirectSpec+", "DirectAU", "a rival that balances through uniformity"),
                    ("LightGCN", "DirectSpec+", "BPR", "this book" + LATER),
                    ("LightGCN", "DirectSpec+ adaptive", "BPR", "this book" + LATER),
                    ("LightGCN", "DirectSpec+ adaptive", "DirectSpec+", "this book" + LATER),
                )
            ),
            *(
                result_claims.chosen_on_validation(
                    f"MF {method}", directspec_suites.tuning_labels(method), CHOSEN[method]
                )
                for method in CHOSEN
            ),
            *(
                result_claims.chosen_on_validation(
                    f"LightGCN {method}",
                    directspec_suites.tuning_labels(method, "LightGCN"),
                    GRAPH_CHOSEN[method],
                )
                for method in GRAPH_CHOSEN
            ),
            *(
                Claim(
                    f"{words(dataset)}, MF: DirectSpec+, single τ, tuned like BPR brings up to "
                    "52.6 % of NDCG@10",
                    (f"{dataset} MF DirectSpec+", f"{dataset} MF BPR"),
                    result_claims.gains(f"{dataset} MF DirectSpec+", f"{dataset} MF BPR", 0.526),
                    source=result_claims.SECOND_HAND + LATER,
                    note="nine tenths of train, selected on validation; after one seed each",
                )
                for dataset, chosen in directspec_suites.CHOSEN_ELSEWHERE.items()
                if chosen
            ),
            *(
                Claim(
                    f"Gowalla, MF: official DirectSpec+, {variant}, brings up to 52.6 % of NDCG@10 "
                    "over a tuned BPR",
                    (label, "gowalla MF BPR, all of train"),
                    result_claims.gains(label, "gowalla MF BPR, all of train", 0.526),
                    source=result_claims.SECOND_HAND + LATER,
                    note=f"all of train, epoch {epochs}, where its file stops",
                )
                for variant, label, epochs in (
                    ("single τ", "gowalla official MF", 300),
                    ("adaptive", "gowalla official MF, adaptive", 50),
                )
            ),
            *(
                Claim(
                    f"{words(dataset)}: pairs held out of train are nearer to it than test pairs "
                    "half of the time, as if test were random",
                    (directspec_suites.alike_label(dataset),),
                    result_claims.alike,
                    source="this book" + LATER,
                    note="by paths over the rest of train",
                )
                for dataset in ("citeulike", *directspec_suites.ELSEWHERE)
            ),
            *(
                result_claims.chosen_on_validation(
                    words(f"{dataset} MF {method}"),
                    directspec_suites.tuning_labels(method, dataset=dataset),
                    position,
                )
                for dataset, chosen in directspec_suites.CHOSEN_ELSEWHERE.items()
                for method, position in chosen.items()
            ),
            *(
                result_claims.every_choice_on_validation(
                    f"{words(dataset)}, MF, as on CiteULike",
                    {
                        labels[CHOSEN[method]]: labels
                        for method in CHOSEN
                        if method not in chosen
                        for labels in (directspec_suites.tuning_labels(method, dataset=dataset),)
                    },
                )
                for dataset, chosen in directspec_suites.CHOSEN_ELSEWHERE.items()
            ),
        ),
    ),
}
