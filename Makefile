# make book · make pages · make test · make paper · make pdf · make bench · make clean · make help
#
# Needs git, make and Python 3.11 or 3.12; the rest is set up in .venv from requirements.txt.

PYTHON  ?= $(shell for p in python3 python3.12 python3.11; do \
             $$p -c 'import sys; sys.exit(not (3,11) <= sys.version_info < (3,13))' 2>/dev/null \
             && { echo $$p; break; }; done)
PROFILE ?= quick
DEVICE  ?=
BUDGET  ?=
ONLY    ?=
WORKERS ?=
PEERS   ?=
QUALITY ?=
HUGE    ?=
TORCH_INDEX ?=

VENV := .venv
RUN  := $(VENV)/bin/python
SET_UP := $(VENV)/.set-up

.DEFAULT_GOAL := help
.PHONY: help book test paper pdf bench clean pages checks

help: ## this list
	@echo "make book   set up, fetch the data, execute what has changed, build the pages"
	@echo "            PROFILE=quick|paper  DEVICE=cpu|cuda"
	@echo "make pages  build the pages from what is published, executing nothing"
	@echo "make test   everything that continuous integration checks"
	@echo "make paper  run the records of the paper profile that are missing; may be killed any time"
	@echo "            BUDGET=9m  ONLY='directspec …'  DEVICE=cuda  WORKERS=2 (else one for each core)"
	@echo "make pdf    the whole book on paper (needs chromium)"
	@echo "make bench  speed of the library, for the page how_fast; DEVICE=cuda where there is one"
	@echo "            PEERS=1 beside that of others (installed apart)  QUALITY=1 time to quality"
	@echo "            ONLY='growth or spikes' benchmarks of such names, into a file of their own"
	@echo "            HUGE=1 ONLY=whole_run also a hundred million interactions"
	@echo "make checks try every theorem and record the number of cases in book/results/checks.json"
	@echo "make clean  remove what was built, not what was set up"
	@echo
	@echo "Set-up: PYTHON=python3.12 names the interpreter;"
	@echo "        TORCH_INDEX=https://download.pytorch.org/whl/cpu takes a torch without CUDA."

$(SET_UP): requirements.txt pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
	    echo "Python 3.11 or 3.12 is needed; python3 here is: $$(python3 --version 2>&1 || true)"; \
	    echo "Install one, or name it: make book PYTHON=/path/to/python3.12"; exit 1; fi
	@echo "setting up $(VENV) (the first time this downloads more than a gigabyte)"
	@[ -x $(VENV)/bin/pip ] || $(PYTHON) .ci/make_venv.py $(VENV)
	@$(RUN) -m pip install --disable-pip-version-check \
	    $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -r requirements.txt
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

book: $(SET_UP) ## execute what has changed and build the pages
	@$(RUN) -m specrec_core.book run --profile $(PROFILE) $(if $(DEVICE),--device $(DEVICE))
	@$(RUN) -m specrec_core.book build

pages: $(SET_UP) ## build the pages from what is published, executing nothing
	@$(RUN) -m specrec_core.book build

test: $(SET_UP) ## what CI checks
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(RUN) -m specrec_core.book weave --check
	OMP_NUM_THREADS=1 $(RUN) -m pytest tests -m "not page"
	$(RUN) -m pytest --nbval-lax notebooks --nbval-cell-timeout=300
	$(RUN) -m specrec_core.book build
	$(RUN) -m pytest tests -m page

checks: $(SET_UP)
	OMP_NUM_THREADS=1 $(RUN) -m pytest tests -m theorem --record-checks

paper: $(SET_UP)
	@$(RUN) -m specrec_core.experiments run $(if $(BUDGET),--budget $(BUDGET)) \
	    $(if $(ONLY),--only $(ONLY)) $(if $(WORKERS),--workers $(WORKERS)) \
	    --device $(or $(DEVICE),auto)

pdf: $(SET_UP)
	@$(RUN) -m specrec_core.book pdf

# With PEERS=1 in an environment of its own: RecBole and LensKit ask for versions that the book does
# not use. Each kind of run has a file, so that none overwrites another; it is written anew only when
# the run has ended.
BENCH_PYTHON := $(if $(PEERS),.venv-peers/bin/python,$(RUN))
BENCH_DEVICE := $(or $(DEVICE),cpu)
BENCH_KIND   := $(if $(QUALITY),time_to_quality$(if $(PEERS),, and specrec),$(if $(PEERS),,not )beside_peers)
EMPTY :=
BENCH_FILE   := book/speed/$(subst $(EMPTY) $(EMPTY),_,$(BENCH_DEVICE)$(if $(PEERS),-peers)$(if $(QUALITY),-quality)$(if $(ONLY),-$(strip $(ONLY)))).json

bench: $(if $(PEERS),.venv-peers/.set-up,$(SET_UP))
	@mkdir -p book/speed
	OMP_NUM_THREADS=1 $(BENCH_PYTHON) -m pytest benchmarks --benchmark-only \
	    --device $(BENCH_DEVICE) $(if $(QUALITY),--quality) $(if $(HUGE),--huge) \
	    -k "($(BENCH_KIND))$(if $(ONLY), and ($(ONLY)))" \
	    --benchmark-json="$(BENCH_FILE).part" \
	    && mv "$(BENCH_FILE).part" "$(BENCH_FILE)"

.venv-peers/.set-up: pyproject.toml
	@[ -x .venv-peers/bin/pip ] || $(PYTHON) .ci/make_venv.py .venv-peers
	.venv-peers/bin/python -m pip install --disable-pip-version-check \
	    $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) \
	    $(shell grep ^torch== requirements.txt) --editable '.[peers]'
	@touch $@

clean:
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis
