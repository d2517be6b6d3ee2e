"""The house has floors: imports run one way, and the floor that runs anywhere needs little."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[1] / "specrec_core"
FLOORS = [  # from the top to the bottom; nothing imports from its own line or above
    ["book"],
    ["weaving", "made_from"],
    ["sweep", "study_lists", "study_speed"],
    ["scheduling"],
    ["estimates"],
    ["experiments"],
    ["part*"],
    ["directspec_suites", "popularity_suites", "resn_suites", "scaling_suites"],
    ["catalogue"],
    ["popularity_claims", "proof_claims", "resn_claims", "result_claims", "scaling_claims",
     "gain_claims", "collapse_claims"],
    ["spike_claims", "use_claims"],
    ["reported"],
    ["claims", "baselines"],
    ["study_ranking", "study_collapse", "study_scaling"],
    ["study_uses"],
    ["study_planted", "study_popularity", "study_spikes", "study_splits"],
    ["ctr"],
    ["fields"],
    ["running"],
    ["building", "memory", "parts"],
    ["training"],
    ["sensitivity"],
    ["chunks", "lanes"],
    ["steps"],
    ["replicas"],
    ["corrections"],
    ["neural", "contrastive"],
    ["models", "filters", "regularization", "pair_scores"],
    ["item_metrics", "item_names"],
    ["rays", "recovery", "alignment", "amplification"],
    ["blockmodel", "spikes", "stability"],
    ["factorisation", "regularizers"],
    ["ppmi", "graph", "cooccurrence", "norms", "report", "gradient_flow"],
    ["popularity"],
    ["sampled_evaluation"],
    ["evaluation", "spectral_norm", "debiasing"],
    ["ranking", "sampling", "objectives"],
    ["losses", "spectra"],
    ["strengths", "tables"],
    ["datasets", "exposure", "noise", "splitting"],
    ["synthetic", "fetching", "clicks"],
    ["playlists"],
    ["propensities"],
    ["registry"],
    ["readers"],
    ["views", "wording"],
    ["view_frames"],
    ["view_stills"],
    ["view_groups"],
    ["figures"],
    ["interactions", "records", "shapes"],
    ["protocol", "labels"],
    ["crew", "speed", "studies", "arguments", "powerlaws", "json_files"],
    ["digits", "progress"],
]


def floor(name: str) -> int:
    name = "part*" if re.match(r"part\d", name) else name
    found = [i for i, names in enumerate(FLOORS) if name in names]
    assert found, f"{name}.py has no floor: add it to this list, the README and its place"
    return found[0]


def imports(path: Path) -> set[str]:
    """Modules of the library that a module needs as it is imported (not those inside functions)."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module == "specrec_core":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("specrec_core."):
            found.add(node.module.split(".")[1])
    return found


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("[a-z]*.py")), ids=lambda p: p.stem)
def test_imports_run_one_way(path):
    for other in imports(path):
        assert floor(path.stem) < floor(other), f"{path.stem} imports {other}"


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_reading_records_and_claims_needs_no_torch():
    run("import sys; from specrec_core import catalogue, claims, records\n"
        "catalogue.verdicts('01_spectra'); assert 'torch' not in sys.modules")  # fmt: skip


def test_experiments_need_torch_numpy_scipy_and_pandas_alone():
    run("""
import sys
for name in ("tqdm", "pooch", "requests", "matplotlib", "seaborn", "sklearn", "IPython",
             "papermill", "nbformat", "jupytext", "myst_nb", "yaml", "gensim", "plotly", "PIL",
             "powerlaw", "distributed"):
    sys.modules[name] = None  # an import of it fails, as where it is not installed
from specrec_core import catalogue, experiments, sweep
from specrec_core.records import Experiment
e = Experiment(dataset="synthetic", version=catalogue.SYNTHETIC, dim=4, epochs=1, seeds=(0,))
assert experiments.run(e).metrics["ndcg@10"]
assert sweep.main(["list"]) == 0
""")
