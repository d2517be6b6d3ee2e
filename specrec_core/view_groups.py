"""Points drawn alike: what colour and symbol a group has, or a value (see ``views``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from specrec_core.figures import BLUE, INK, ORANGE, PALETTE, PURPLE

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Legend: TypeAlias = Mapping[Any, str] | str | None

SYMBOLS = ("circle", "diamond", "square", "cross")
MARK = "diamond-open"
COLOURS = (BLUE, PURPLE, ORANGE)  # of values from low to high, for colour-blind readers too
GROUPS = len(PALETTE) * len(SYMBOLS)


@dataclass(frozen=True)
class Layer:
    """Points drawn alike. ``colour`` is None where each point has that of its value."""

    name: str
    colour: str | None
    symbol: str
    size: float
    alpha: float


@dataclass(frozen=True)
class Scale:
    """The colours of values from ``low`` to ``high``."""

    low: float
    high: float
    name: str
    colours: tuple[str, ...] = COLOURS

    def shades(self, values: NDArray[np.float64]) -> NDArray[np.str_]:
        """A colour ``#rrggbb`` for each value ``(n,)``."""
        from matplotlib.colors import LinearSegmentedColormap, to_hex

        steps = LinearSegmentedColormap.from_list("", self.colours)(np.linspace(0, 1, 65))
        shares = (values - self.low) / (self.high - self.low)
        return np.array([to_hex(step) for step in steps])[np.rint(shares * 64).astype(int)]


def by_value(
    values: Sequence[ArrayLike | None], counts: Sequence[int], legend: Legend
) -> tuple[list[NDArray[np.float64]], Scale]:
    """The values of each frame, and one scale for all frames."""
    if isinstance(legend, Mapping):
        raise ValueError("legend: a mapping, expected the name of the values")
    arrays = [np.asarray(each, dtype=float) for each in values]
    _each_point("values", arrays, counts)
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("values: some are infinite or no number, expected finite numbers")
    low, high = (float(end([end(array) for array in arrays])) for end in (np.min, np.max))
    return arrays, Scale(low, high if high > low else low + 1, legend or "")


def by_label(
    labels: Sequence[ArrayLike | None], counts: Sequence[int], legend: Legend, alpha: float
) -> tuple[list[NDArray[np.int64]], list[Layer]]:
    """The layer of each point of each frame, and the layers; their sizes are still 0."""
    if isinstance(legend, str):
        raise ValueError("legend: a string, expected what each label is called")
    lists = [_plain(each) for each in labels]
    _each_point("labels", lists, counts)
    names = _names({label for each in lists for label in each}, legend)
    groups = [label for label in names if label is not None]
    layers = []
    for label, name in names.items():
        if label is None:
            layers.append(Layer(name, INK, SYMBOLS[0], 0, 0.5 * alpha))
        else:
            turn, colour = divmod(groups.index(label), len(PALETTE))
            layers.append(Layer(name, PALETTE[colour], SYMBOLS[turn], 0, alpha))
    index = {label: number for number, label in enumerate(names)}
    return [np.array([index[label] for label in each]) for each in lists], layers


def _plain(labels: Any) -> list[Any]:
    """Labels as Python values, None for those without a group."""
    array = np.asarray(labels)
    found = array.tolist() if array.ndim == 1 else []
    return [None if label is None or label == -1 else label for label in found]


def _each_point(what: str, arrays: Sequence[Any], counts: Sequence[int]) -> None:
    for array, count in zip(arrays, counts, strict=True):
        if np.ndim(array) != 1 or len(array) != count:
            raise ValueError(f"{what}: shape {np.shape(array)}, expected ({count},)")


def _names(found: set[Any], legend: Mapping[Any, str] | None) -> dict[Any, str]:
    """What each group is called, in the order of the legend; those without a group come first."""
    given = {None if label in (None, -1) else label: name for label, name in (legend or {}).items()}
    inside = found - {None}
    named = set(given) - {None}
    if named and inside - named:
        missing = ", ".join(sorted(map(str, inside - named)))
        raise ValueError(f"legend: no name for {missing}, expected one for each label")
    numbers = all(isinstance(label, int | float) for label in inside)
    order = [label for label in given if label in inside]
    order = order or sorted(inside, key=None if numbers else str)
    if len(order) > GROUPS:
        raise ValueError(
            f"labels: {len(order)} groups, expected at most {GROUPS}, which can be told apart; "
            "give the label -1 to the rest"
        )
    hidden = legend is not None and not given
    names = {label: "" if hidden else given.get(label, str(label)) for label in order}
    rest = {None: "" if hidden else given.get(None, "others")} if None in found else {}
    return rest | names
