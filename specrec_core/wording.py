"""What the label of an experiment says, in words: claims print these beside their evidence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from specrec_core.digits import grouped

DATASETS = {
    "citeulike": "CiteULike",
    "coat": "Coat",
    "cornell-yes1k": "Cornell-Yes1k",
    "douban-28": "Douban",
    "douban-movie": "Douban-movie",
    "globo": "Globo",
    "gowalla": "Gowalla",
    "lastfm-hetrec": "LastFM-HetRec",
    "lastfm-kgat": "LastFM-KGAT",
    "ml-100k": "ML-100K",
    "ml-1m": "ML-1M",
    "ml-latest-small": "ML-latest-small",
    "modcloth": "ModCloth",
    "yahoo-r3": "Yahoo!R3",
    "yelp2018": "Yelp2018",
}
LEADING = re.compile(r"^(?:angle|descent|planted|raw|reshaped|seen|tail|time of|trained|training"
                     r"|truncated) ")  # fmt: skip
PHRASES = {
    " step scores, direction constant": " direction held constant",
    " evened": " evened split,",
    " dial ": " ",
    " tuning ": " ",
    "ReSN (code), strong": "ReSN (code) strength=0.2",
    "ReSN (formula), strong": "ReSN (formula) strength=0.01",
    "bpr none": "bpr, as it is",
    "ppmi theta": "ppmi, θ",
}
WORDS = {
    "adam": "Adam", "adamw": "AdamW", "bpr": "BPR", "bpr-drop": "BPR with dropping",
    "directspec": "DirectSpec", "gd": "gradient descent", "lightgcn": "LightGCN", "neumf": "NeuMF",
    "ppmi": "PPMI", "sgd": "SGD", "sgl": "SGL", "svd": "SVD", "momentum": "SGD with momentum",
}  # fmt: skip
SETTINGS = {
    "d": "{} dimensions",
    "drop": "{:percent} dropped",
    "f": "f = {}",
    "K": "K = {}",
    "k": "K = {}",
    "l2": "L2 penalty {:power}",
    "lr": "rate {:power}",
    "learning_rate": "rate {:power}",
    "noise": "{:percent} noise",
    "rank": "rank {}",
    "rate": "rate {:power}",
    "std": "standard deviation {}",
    "strength": "strength {:power}",
    "values": "{} values",
    "γ": "γ = {}",
}
BACKBONES = ("LightGCN", "XSimGCL")  # after a data set they are a part by themselves
SETTING = re.compile(r"^([^\W\d]\w*)=([-+.\w]+)$")
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power(value: float) -> str:
    """Powers of ten below a hundredth as such, ``10⁻⁵``; else as ``:g`` has it."""
    digits, _, exponent = f"{value:e}".partition("e")
    if float(digits) == 1 and int(exponent) < -2:
        return "10" + str(int(exponent)).translate(SUPERSCRIPTS)
    return f"{value:g}"


def words(label: str) -> str:
    """``bpr noise=0.3 d=512`` is ``BPR, 30 % noise, 512 dimensions``."""
    label = LEADING.sub("", label)
    for said, better in PHRASES.items():
        label = label.replace(said, better)
    parts: list[list[str]] = [[]]
    for token in label.split():
        word, comma = token.rstrip(","), token.endswith(",")
        if setting := SETTING.match(word):
            parts += [[_setting(*setting.groups())], []]
        elif word in DATASETS:
            parts += [[DATASETS[word]], []]
        elif word in BACKBONES and len(parts) > 1 and not parts[-1]:
            parts += [[word], []]
        else:
            number = grouped(int(word)) if word.isdecimal() else word
            parts[-1].append(WORDS.get(word, number))
            if comma:
                parts.append([])
    return ", ".join(" ".join(part) for part in parts if part)


def names(labels: Iterable[str]) -> dict[str, str]:
    """The words of each label, without what all of several share."""
    parts = {label: words(label).split(", ") for label in labels}
    shared = set.intersection(*map(set, parts.values())) if len(parts) > 1 else set()
    return {
        label: ", ".join(part for part in of if part not in shared) or of[-1]
        for label, of in parts.items()
    }


def listed(shown: Mapping[str, str]) -> str:
    """``ML-1M: 0.35, Coat: 0.38`` of what is shown for each label; of one label, that alone."""
    if len(shown) == 1:
        return next(iter(shown.values()))
    said = [f"{name}: {shown[label]}" for label, name in names(shown).items()]
    return ("; " if any(", " in each for each in said) else ", ").join(said)


def _setting(name: str, value: str) -> str:
    if name not in SETTINGS:
        return f"{name.replace('_', ' ')} {value}"
    form = SETTINGS[name]
    if ":percent" in form:
        return form.replace("{:percent}", f"{100 * float(value):g} %" if float(value) else "no")
    if ":power" in form:
        return form.replace("{:power}", power(float(value)))
    return form.format(value)
