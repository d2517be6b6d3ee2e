"""A judgement on one embedding table: a verdict in words, numbers, and a picture.

    from specrec_core import spectra
    spectra.report("item_embeddings.npy")                  # in a notebook: table and picture
    print(spectra.report("checkpoint.pt", key="item.weight"))
    spectra.report(table).figure().savefig("spectrum.svg")

The verdict compares the effective rank with that of random numbers of the same shape
(`spectra.random_reference`). The words are ours, and so are their limits: nearly flat from
`FLAT` of the random effective rank upwards, unbalanced from `UNBALANCED`, below that collapsed.
"""

from __future__ import annotations

import base64
import html
import io
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from specrec_core import spectra
from specrec_core.digits import grouped
from specrec_core.tables import Array, as_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLAT, UNBALANCED = 0.9, 0.5
ROWS = {  # summary key -> what the reader is told
    "effective_rank": "effective rank",
    "rank": "rank above rounding",
    "information_abundance": "information abundance",
    "participation_ratio": "participation ratio",
    "stable_rank": "stable rank",
    "condition_number": "condition number",
    "leading_share": "leading direction, share of Σσ",
    "leading_energy": "leading direction, share of Σσ²",
    "mean_energy": "mean row, share of Σσ²",
    "zero_rows": "rows that are zero",
}


def _digits(key: str, value: float) -> str:
    """Counts whole, shares in per cent, and one digit after the point of everything else."""
    if key in ("rank", "zero_rows"):
        return f"{value:,.0f}"
    if key in ("leading_share", "leading_energy", "mean_energy"):
        return f"{100 * value:.1f} %"
    return f"{value:,.1f}" if value < 1e6 else f"{value:.1e}"


@dataclass(frozen=True)
class Report:
    """What `spectra.report` found.

    `summary` has the numbers by the names of `ROWS`, and for the four soft ranks also those of
    random numbers of the same shape, such as ``random_effective_rank``.
    """

    name: str
    shape: tuple[int, int]
    summary: dict[str, float]
    singular_values: np.ndarray  # (min(n, d),)
    row_norms: np.ndarray  # (n,)

    @property
    def verdict(self) -> str:
        """One or two sentences, made from `summary`."""
        value, directions = self.summary, min(self.shape)
        if value["rank"] == 0:
            return "Zero everywhere: the table uses no direction."
        used, rank, random = value["effective_rank"], value["rank"], value["random_effective_rank"]
        if directions == 1:
            return "Uses its only direction: there is nothing to balance."
        if used >= FLAT * random:
            state = "by this count nearly as flat as random numbers"
        elif used >= UNBALANCED * random:
            state = "unbalanced: some directions are used far more than others"
        elif used >= 1.5:
            state = "collapsed into few directions"
        else:
            state = "completely collapsed: almost one direction is left"
        text = (
            f"Uses {used:.1f} of {directions} directions (random numbers: {random:.1f}); {state}."
        )
        stable, reference = value["stable_rank"], value["random_stable_rank"]
        if used >= FLAT * random and stable < UNBALANCED * reference:
            text += (
                f" But some stand out: the stable rank is {stable:.1f} (random "
                f"numbers: {reference:.1f})."
            )
        if rank < directions:
            text += f" {directions - rank:.0f} directions are empty."
        if value["mean_energy"] >= 0.5:
            text += f" The mean row alone holds {value['mean_energy']:.0%} of the energy."
        elif value["leading_energy"] >= 0.5:
            text += f" One direction holds {value['leading_energy']:.0%} of the energy."
        if value["zero_rows"]:
            text += f" {value['zero_rows']:.0f} of {self.shape[0]:,} rows are zero."
        return text

    def _lines(self) -> list[tuple[str, str]]:
        lines = []
        for key, words in ROWS.items():
            value, random = self.summary[key], self.summary.get(f"random_{key}")
            number = _digits(key, value)
            if random is not None:
                number += f" (random: {_digits(key, random)})"
            lines.append((words, number))
        return lines

    def __str__(self) -> str:
        width = max(map(len, ROWS.values()))
        head = f"{self.name}: {grouped(self.shape[0])} rows × {grouped(self.shape[1])} dimensions"
        body = [f"  {words:<{width}}  {number}" for words, number in self._lines()]
        return "\n".join([head, self.verdict, *body])

    def figure(self) -> Figure:
        """Singular values above, kept energy and row norms below (needs matplotlib)."""
        import matplotlib
        from matplotlib.figure import Figure

        from specrec_core import figures

        s = self.singular_values
        index = np.arange(1, len(s) + 1)
        reference: dict[str, Any] = {"color": figures.INK, "linestyle": "--", "linewidth": 1.5}
        with matplotlib.rc_context():
            figures.use_style()
            figure = Figure(figsize=(5.8, 4.8), layout="constrained")
            axes = figure.subplot_mosaic("aa;bc", height_ratios=[3, 2])
            figures.spectrum(axes["a"], s, label="this table")
            axes["a"].axhline(s.mean(), label="flat, with the same sum", **reference)
            axes["a"].legend()
            if s[0] == 0:
                axes["a"].set_yscale("linear")
            axes["b"].plot(index, spectra.energy_curve(s))
            axes["b"].plot(index, index / len(s), **reference)
            axes["b"].set(xlabel="directions kept", ylabel="share of energy", ylim=(0, 1.05))
            axes["c"].hist(self.row_norms, bins=40)
            axes["c"].set(xlabel="norm of a row", ylabel="rows")
            return figure

    def alt_text(self) -> str:
        """The picture in words, for those who cannot see it."""
        s, norms = self.singular_values, self.row_norms
        return (
            f"Three panels on {self.name}. Above: {len(s)} singular values falling from {s[0]:.3g} "
            f"to {s[-1]:.3g} beside a flat line. Below: the share of energy kept, "
            f"{self.summary['leading_energy']:.0%} by the first direction; histogram of row "
            f"norms from {norms.min():.3g} to {norms.max():.3g}. {self.verdict}"
        )

    def _repr_html_(self) -> str:
        right = 'style="padding-left:1.5em;text-align:right"'
        lines = (f"<tr><td>{w}</td><td {right}>{number}</td></tr>" for w, number in self._lines())
        head = f"{self.name}: {grouped(self.shape[0])} rows × {grouped(self.shape[1])} dimensions"
        text = f"<p><strong>{html.escape(head)}</strong><br>{html.escape(self.verdict)}</p>"
        try:
            picture = io.BytesIO()
            self.figure().savefig(picture, format="png", dpi=160, transparent=True)
        except ModuleNotFoundError as missing:
            image = f"<p>No picture: {html.escape(str(missing))}.</p>"
        else:
            code = base64.b64encode(picture.getvalue()).decode()
            alt = html.escape(self.alt_text(), quote=True)
            image = f'<img src="data:image/png;base64,{code}" alt="{alt}" style="max-width:100%">'
        return f"<div>{text}{image}<table>{''.join(lines)}</table></div>"


def make_report(table: Array | str | Path, *, key: str | None = None) -> Report:
    """Load and check one `(n, d)` table and measure it; see `spectra.report`.

    Raises ValueError for files of another kind, files in which no or several tables are found (the
    remedy is `key`), tables that are not 2-D, and whatever `specrec_core.tables.as_table` refuses.
    """
    name = "table"
    if isinstance(table, str | Path):
        name = Path(table).name if key is None else f"{Path(table).name}[{key}]"
        table = _read(Path(table), key)
    elif key is not None:
        raise ValueError(f"key is {key!r}, but table is not a path; expected key only with a file")
    tensor = as_table("table", table).detach()
    if tensor.ndim != 2:
        raise ValueError(
            f"table has shape {tuple(tensor.shape)}; expected one (n, d) table "
            "(for a batch: spectra.summary)"
        )
    n, d = tensor.shape
    s = spectra.singular_values(tensor)
    exact = tensor.double()
    norms = torch.linalg.vector_norm(exact, dim=1)
    energy = float(s.square().sum())
    mean_energy = n * float(exact.mean(0).square().sum()) / energy if energy > 0 else 0.0
    numbers = {name: float(value) for name, value in spectra.summary(tensor).items()}
    numbers |= {"mean_energy": mean_energy, "zero_rows": float((norms == 0).sum())}
    ordered = {name: numbers[name] for name in ROWS}
    for rank, value in spectra.random_reference(n, d).items():
        ordered[f"random_{rank}"] = value
    return Report(name, (n, d), ordered, s.cpu().numpy(), norms.cpu().numpy())


def _read(path: Path, key: str | None) -> Array:
    if path.suffix == ".npy":
        if key is not None:
            raise ValueError(f"key is {key!r}, but an .npy file holds one table; expected no key")
        return np.load(path, allow_pickle=False)
    if path.suffix not in (".pt", ".pth"):
        raise ValueError(f"table is the path {path.name!r}; expected .npy, .pt or .pth")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise ValueError(
            f"{path.name} cannot be read as tensors alone ({str(error).splitlines()[0]}); expected "
            "a tensor or a state dict (save model.state_dict(), not the model)"
        ) from error
    found = {k: v for k, v in _tensors(content) if key == k or (key is None and v.ndim == 2)}
    if len(found) != 1:
        names = [k for k, _ in _tensors(content)]
        raise ValueError(
            f"{path.name} has {len(found)} tables for key={key!r}; expected one; "
            f"name it with key=, one of {names}"
        )
    return next(iter(found.values()))


def _tensors(content: object, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor in nested mappings, with its dotted name."""
    if isinstance(content, Tensor):
        yield prefix, content
    elif isinstance(content, Mapping):
        for name, part in content.items():
            yield from _tensors(part, f"{prefix}.{name}" if prefix else str(name))
