# For a newcomer: make demo, make test. To change something: make setup, make quick. Each sets up .venv by itself.
PYTHON ?= python3
BIN := .venv/bin
DEMO := checkpoints/quick

.PHONY: demo setup quick test test-slow test-gpu test-bridge test-peers torture check lint bench docs lock clean

demo: .venv/base  ## Train the quick preset, run every analysis, print where the page is
	$(BIN)/python -m interp.train quick --out $(DEMO) --resume
	$(BIN)/python -m interp.analyze all $(DEMO)

setup: .venv/dev  ## The environment in which everything here runs, and nothing else

# A worker for each core. The tests of a file go to one worker, which makes what they share once.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadscope

quick: .venv/dev  ## The tests to run while writing: maths, tasks, layers, bad input (under a minute on 2 cores)
	$(PYTEST) -m "not slow and not gpu" tests/maths tests/tasks tests/test_layers.py tests/test_bad_input.py

test: .venv/dev  ## The tests that every change must pass
	$(PYTEST) -m "not slow and not gpu"

test-slow: .venv/dev  ## The tests that take minutes
	$(BIN)/python -m pytest -m slow

torture: .venv/dev  ## Kills, damaged files, full disks, by the thousand; writes the table of docs/reliability.md (9 minutes)
	INTERP_FAULTS=full $(PYTEST) tests/faults

test-gpu: .venv/dev  ## The tests that need a GPU
	$(BIN)/python -m pytest -m gpu

test-bridge: .venv/base .venv-bridge/base  ## Whether TransformerLens 4 computes the same logits from exported runs
	rm -rf build/bridge
	$(BIN)/python tests/bridge/make.py build/bridge
	.venv-bridge/bin/python tests/bridge/check.py build/bridge

test-peers: .venv-peers/base  ## Whether curvlinops finds the same eigenvalues and traces
	.venv-peers/bin/python tests/peers/check.py

check: lint test  ## The linter, the formatter and the type checker, which take seconds, then the tests

BENCHMARKS := training_step end_to_end analysis analyze_all seeds size saving recorder startup toy groups_memory busy denormals widths page app

bench: .venv/dev  ## Time everything against the plain TransformerLens loop; writes benchmarks/results (about 15 minutes)
	for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py || exit 1; done

docs: .venv/dev docs/tutorial.ipynb  ## The documents as a site, in build/docs; any warning fails
	$(BIN)/python -m sphinx -W --keep-going -q -c docs . build/docs
	cp build/docs/README.html build/docs/index.html
	@echo "open build/docs/index.html"

docs/tutorial.ipynb: docs/tutorial.md .venv/dev
	$(BIN)/jupytext --quiet --to notebook --opt notebook_metadata_filter=-all --opt cell_metadata_filter=-all $< -o $@

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

.venv/bin/python:
	$(PYTHON) -m venv .venv

# torch first and alone, so that a CPU build that pip already has is taken and not replaced.
.venv/base: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[probe]'
	touch $@

.venv/dev: .venv/base
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

.venv-bridge/base:
	$(PYTHON) -m venv .venv-bridge
	.venv-bridge/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	.venv-bridge/bin/python -m pip install --quiet --disable-pip-version-check 'transformer-lens>=4,<5' safetensors
	touch $@

# Installed by themselves: what they ask for would replace torch's CPU build.
PEERS := curvlinops-for-pytorch==3.0.1 backpack-for-pytorch==1.7.1 einconv==0.1.0 canonical-interp==0.1.5

.venv-peers/base: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . opt_einsum linear_operator tqdm
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(PEERS)
	touch $@

lock:  ## Renew constraints.txt from what a fresh environment resolves to
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet torch==2.13.0
	.venv-lock/bin/python -m pip install --quiet '.[probe,dev]'
	(echo '# Every version that the project is tested with. Renew with: make lock'; \
	 .venv-lock/bin/python -m pip freeze --exclude interp | sed 's/+cpu$$//') > constraints.txt
	rm -rf .venv-lock

clean:  ## Remove what make made
	rm -rf .venv .venv-lock .venv-bridge .venv-peers build/bridge build/docs $(DEMO)
