# `make demo` and `make test` need only Python 3.10-3.13 with venv; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := .demo

.PHONY: demo test lint browser figures site bench fuzz clean install dev

install: $(VENV)/.installed
dev: $(VENV)/.dev

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,archives,cluster,export,report,video]'
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
	$(BIN)/python -m pytest

# The pictures of README and docs, from the distributed clips of NW-UCLA; needs Chromium.
figures: $(VENV)/.dev
	@test -n "$(UCLA)" || (echo "say where the clips are: make figures UCLA=all_sqe.zip" && exit 2)
	rm -rf .figures
	$(BIN)/python docs/figures.py $(UCLA) .figures

# The guide as a site, in .site/.
site: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet -c constraints.txt mkdocs-material
	$(BIN)/mkdocs build --quiet --strict --config-file .mkdocs.yml

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) $(DEMO) .figures .site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

# Ten minutes of coverage-guided fuzzing of every reader; atheris has no wheels for every Python, so it is not part of the tests.
fuzz: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet atheris
	$(BIN)/python -m benchmarks.fuzz 600
