# Two commands do everything: `make run` and `make test`; both set up .venv first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
TORCH ?= cuda
EXP ?= drqn_cartpole
RUN ?= outputs/$(EXP)/$(shell date +%Y-%m-%d_%H-%M-%S)
RUN := $(RUN)

.DEFAULT_GOAL := help
.PHONY: help setup run test test-slow test-cluster test-gpu lint format docs site notebooks clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## make .venv with the pinned packages; TORCH=cpu: without CUDA, 1.9 GB instead of 6.9

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
ifeq ($(TORCH),cpu)  # uv knows where PyTorch without CUDA is
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(BIN)/uv pip install --quiet --python .venv --torch-backend cpu -c constraints.txt torch
endif
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,atari]"
	$(BIN)/pyright --version >/dev/null  # fetches its type checker now, so that tests need no network
	touch $@

run: $(READY) ## train DRQN on pixel CartPole, evaluate it on 100 fresh episodes, show where the pictures are
	$(BIN)/python -m pipelines.train +exp=$(EXP) hydra.run.dir=$(RUN)
	$(BIN)/python -m pipelines.evaluate run=$(RUN) episodes=100
	@echo "learning curve: $(RUN)/learning_curve.png"
	@ls $(RUN)/videos/*.mp4 $(RUN)/checkpoints/*.pt

# Two processes on two cores: with more threads than one each they wait for one another.
test: $(READY) lint ## lint, types and the default tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: $(READY) ## the learning tests and further cases of the default ones (hours)
	$(BIN)/python -m pytest -m slow

test-cluster: $(READY) ## the tests on a Ray cluster of several nodes, all on this machine; needs the extra ray
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m cluster

test-gpu: $(READY) ## the tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu

lint: $(READY) ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(READY) ## mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY) ## write the generated pages and the pictures of the tasks, and build the site
	$(BIN)/python -m pipelines.config.metrics_page > docs/metrics.md
	$(BIN)/python -m tests.pipelines.bad_input > docs/bad_input.md
	$(BIN)/python -m pipelines.config.settings_page > docs/settings.md
	for task in tour corridor tiny explore shower; do $(BIN)/python -m modules.envs.rendering.$${task} || exit 1; done
	$(MAKE) site

site: $(READY) ## build the site in build/site, with the extra site
	$(BIN)/python -c "import mkdocs, mkdocstrings, nbconvert" 2>/dev/null || $(BIN)/pip install --quiet -c constraints.txt -e ".[site]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

notebooks: $(READY) ## execute the notebooks of docs/notebooks and keep what they show, with the extras notebook and onnx
	$(BIN)/pip install --quiet -c constraints.txt -e ".[notebook,onnx]"
	$(BIN)/python -m tests.roads.notebooks

clean: ## remove .venv and caches, keep outputs
	rm -rf .venv .pytest_cache .ruff_cache build dist
