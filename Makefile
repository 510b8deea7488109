# `make demo` and `make test` need only Python 3.10-3.13 with venv; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := .demo
ALL := .[dev,archives,cluster,docs,export,fast,report,video]
# Constraints reach the packages that builds need only through the environment: old pips read the first, new ones the second.
PINNED := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt

.PHONY: demo test lint browser figures site bench fuzz mutants pins clean install dev

install: $(VENV)/.installed
dev: $(VENV)/.dev

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	rm -rf *.egg-info  # what a wheel's build left here would be read before the installed entry points
	$(PINNED) $(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(PINNED) $(BIN)/python -m pip install --quiet -e '$(ALL)'
	touch $@

# Synthetic raw NTU files -> shards -> picture -> pre-training -> probes, in a few minutes on two cores.
demo: $(VENV)/.installed
	rm -rf $(DEMO)
	$(BIN)/amr-data synth $(DEMO)/raw --dataset ntu60 --classes 12 --subjects 8 --replications 2
	$(BIN)/amr-data convert $(DEMO)/raw $(DEMO)/shards --dataset ntu60
	$(BIN)/amr-data inspect $(DEMO)/shards --class 60 --random 1 --png $(DEMO)/clip.png --html $(DEMO)/clip.html
	$(BIN)/amr-train run demo --data $(DEMO)/shards --out $(DEMO)/run
	@echo
	@echo "raw files  $(DEMO)/raw"
	@echo "shards     $(DEMO)/shards"
	@echo "picture    $(DEMO)/clip.png, $(DEMO)/clip.html (open it in a browser)"
	@echo "run        $(DEMO)/run  (results.json, metrics.jsonl, tensorboard/, checkpoints/)"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p $(VENV)/names && ln -sfn ../../cli $(VENV)/names/amr_cli  # the name that cli/ is installed under
	$(BIN)/mypy
	$(BIN)/lint-imports

# Browser tests need Chromium; CI installs Debian's, elsewhere they are skipped where there is none.
browser:
	@if [ -n "$$CI" ] && ! command -v chromium >/dev/null; then \
		(apt-get update -qq && apt-get install -y -qq chromium) >/dev/null 2>&1 || echo "Chromium could not be installed"; fi
	@command -v chromium >/dev/null || echo "no Chromium: browser tests will be skipped"

test: lint browser
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

# The pictures of README and docs, from synthetic clips and the distributed ones of NW-UCLA; needs Chromium.
figures: $(VENV)/.dev
	@test -n "$(UCLA)" || (echo "say where the clips are: make figures UCLA=all_sqe.zip" && exit 2)
	rm -rf .figures
	$(BIN)/python docs/figures.py $(UCLA) .figures

# The guide as a site, in .site/; it is read from disk: open .site/index.html.
site: $(VENV)/.dev
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs .site

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

# Takes the newest versions of everything but torch and writes them down in constraints.txt; made with the oldest Python
# that the newest numpy supports, so that the list serves the later ones too: make pins PYTHON=python3.11
pins:
	fresh=$$(mktemp -d) && trap "rm -rf $$fresh" EXIT && grep '^torch==' constraints.txt > $$fresh/torch.txt && \
	$(PYTHON) -m venv $$fresh/venv && \
	$$fresh/venv/bin/python -m pip install --quiet --upgrade -c $$fresh/torch.txt -e '$(ALL)' && \
	$$fresh/venv/bin/python -m pip check && $$fresh/venv/bin/python .ci/pins.py

clean:
	rm -rf $(VENV) $(DEMO) .mutants .figures .site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

# Ten minutes of coverage-guided fuzzing of every reader; no version of atheris has wheels for all our Pythons, so it is
# neither part of the tests nor pinned.
fuzz: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet atheris
	$(BIN)/python -m benchmarks.fuzz 600

# Whether tests notice small changes to the data side: every module, or one, as in `make mutants ONLY=amr_data/manifest.py`.
# A module takes minutes; a run that was stopped goes on. mutmut is neither part of the tests nor pinned.
mutants: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet mutmut
	OMP_NUM_THREADS=1 nice -n 15 $(BIN)/python -m benchmarks.mutants $(ONLY)
