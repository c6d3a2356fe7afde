# Every target does its own set-up: python3 (3.11 to 3.13), make and a package index are enough.
# The environment is updated only if the lock, pyproject.toml or the test models have changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS ?=
empty :=
# One mark per choice of extras: `make test` after `make setup EXTRAS=video` installs what it needs.
READY := $(VENV)/.ready$(if $(EXTRAS),-$(subst $(empty) $(empty),-,$(sort $(EXTRAS))))
CHECKED := flows tasks deployments tests benchmarks examples scripts

.DEFAULT_GOAL := help
.PHONY: help setup torch demo demo-stars demo-signs demo-tapes demo-overlays test test-long lint format lock bench-overhead bench-graph bench-scaling bench-frames bench-conformance bench-transits bench-landmarks bench-restoration bench-overlays bench-peers bench-stores mutants chaos soak docs image clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: $(READY)  ## Install everything into .venv; EXTRAS=video (or signs, stars, ...) installs only what it needs

$(READY): requirements-dev.lock pyproject.toml scripts/environment.py scripts/build_test_models.py tests/data/models/recipe.json
	@echo "setting up $(VENV) (once; a minute or two)"
	@$(PYTHON) scripts/environment.py $(VENV) requirements-dev.lock $(EXTRAS)
	$(if $(EXTRAS),,@$(BIN)/python scripts/build_test_models.py)
	@rm -f $(VENV)/.ready*
	@touch $@

torch: $(READY)  ## Install PyTorch for LandmarkDataset and its tests (a CPU build if available)
	@$(BIN)/python scripts/install_torch.py

# The demo contains two damaged videos, so its exit code is 3: finished, with failed items.
demo: $(READY)  ## Build a training dataset from sample clips, two of them damaged
	@$(BIN)/python examples/demo_data.py demo
	$(BIN)/python flows/dataset_prep.py --manifest demo/train.json --videos-dir demo/videos --output-dir demo/output || test $$? -eq 3

# One star is damaged: exit code 3, see above.
demo-stars: $(READY)  ## Search synthetic stars for injected planets
	@$(BIN)/python examples/demo_stars.py demo
	$(BIN)/python flows/exoplanet_features.py --targets demo/targets.csv --light-curves demo/stars --output-dir demo/stars-output || test $$? -eq 3

# One sample is empty: exit code 3, see above. MODEL= names a .task file if no model can be downloaded.
MODEL ?= holistic
demo-signs: $(READY)  ## Extract the landmarks of a person who talks and gestures
	@$(BIN)/python examples/demo_signs.py demo
	$(BIN)/python flows/landmark_extraction.py --input demo/signs --model $(MODEL) --overlay --output-dir demo/signs-output || test $$? -eq 3

# One tape is empty: exit code 3, see above.
demo-tapes: $(READY)  ## Restore three short tapes: interlaced, noisy, telecined, one truncated
	@$(BIN)/python examples/demo_tapes.py demo
	$(BIN)/python flows/vhs_batch.py --input demo/tapes --preview --output-dir demo/tapes-output || test $$? -eq 3

demo-overlays: $(READY)  ## Remove a translucent logo from a video
	@$(BIN)/python examples/demo_overlays.py demo
	$(BIN)/python flows/overlay_removal.py --input demo/marked --output-dir demo/marked-output

# Tests wait for servers and child processes most of the time, so three files run in parallel. They run in the order of their
# names: sorted by their number of tests, the files with the longest tests would come last.
test: $(READY)  ## Run the tests; ARGS= goes to pytest
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

test-long: $(READY)  ## Run the tests that `make test` leaves out because they take long
	@$(BIN)/python -m pytest -m long -n 2 --dist loadfile $(ARGS)

lint: $(READY)  ## Check style, format and types
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy

format: $(READY)  ## Format the code
	$(BIN)/ruff check --fix-only $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

lock: $(READY)  ## Compile the locks from pyproject.toml (ARGS=--upgrade for newer versions)
	$(BIN)/python scripts/lock.py $(ARGS)

bench-overhead: $(READY)  ## Compare the engine with a process pool
	$(BIN)/python benchmarks/overhead.py $(ARGS)

bench-stores: $(READY)  ## Measure small items whose outputs go to an S3 server on this machine
	$(BIN)/python -m benchmarks.stores $(ARGS)

bench-graph: $(READY)  ## Measure the scheduling of a graph of stages
	$(BIN)/python benchmarks/graph.py $(ARGS)

bench-scaling: $(READY)  ## Measure the dispatch of many items to many workers on a simulated clock
	$(BIN)/python benchmarks/scaling.py $(ARGS)

bench-frames: $(READY)  ## Compare frame extraction with OpenCV, decord, torchcodec and PyAV
	$(BIN)/python benchmarks/frames.py $(ARGS)

bench-conformance: $(READY)  ## Compare the frames of many kinds of videos with a full decode, next to other readers (20 minutes)
	$(BIN)/python benchmarks/conformance.py $(ARGS)

bench-transits: $(READY)  ## Compare the transit search with lightkurve and TLS on real stars and injected planets (an hour)
	$(BIN)/python benchmarks/transits.py $(ARGS)

bench-landmarks: $(READY)  ## Compare landmark extraction with a plain loop and with pose-format
	$(BIN)/python benchmarks/landmarks.py $(ARGS)

bench-restoration: $(READY)  ## Compare restored tapes with the original recordings
	$(BIN)/python benchmarks/restoration.py $(ARGS)

bench-overlays: $(READY)  ## Compare overlay detection and removal with delogo, removelogo and Telea
	$(BIN)/python benchmarks/overlays.py $(ARGS)

bench-peers: $(READY)  ## Compare runs of many items with Pool, Dask, Prefect, Ray, Snakemake, Luigi and Dagster (an hour)
	$(BIN)/python benchmarks/peers.py $(ARGS)

MUTANTS ?= tasks.engine.*
mutants: $(READY)  ## Run mutation tests of the engine (hours; MUTANTS='tasks.engine.planning.plan*' for one module), see docs/mutants.md
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --target .mutmut --upgrade 'mutmut>=3.8,<4'
	PYTHONPATH=$(CURDIR)/.mutmut $(BIN)/python .mutmut/bin/mutmut run --max-children 2 '$(MUTANTS)'
	$(BIN)/python -m tests.mutants

chaos: $(READY)  ## Disturb networks, kill processes of a hundred runs, continue each run, and inject failing system calls (ARGS="--seed 2 --trials 20")
	$(BIN)/python -m tests.chaos.network_faults
	$(BIN)/python -m tests.chaos.storm $(ARGS)

soak: $(READY)  ## Run 20,000 items, some of them faulty, and measure the memory of every process
	$(BIN)/python -m tests.chaos.soak $(ARGS)

docs: $(READY)  ## Build the documentation as a website in build/site (warnings are errors)
	$(BIN)/python scripts/docs.py

IMAGE ?= build/image
image:  ## Run the steps of deployments/Dockerfile in a chroot (root and mmdebstrap; 5 minutes; ARGS="--python PREFIX")
	$(PYTHON) scripts/build_image.py $(IMAGE) $(ARGS)

clean:  ## Remove the environment, caches and demos
	rm -rf $(VENV) demo mutants .mutmut .bench build dist .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
