# Every target sets up what it needs; `make serve` is all it takes on a fresh machine.
PYTHON ?= python3
# Set on the command line only: shells have a HOST of their own.
MODEL =
HOST  =
PORT  =
STORE =
REPLICAS =
HEAD  =
FILE  =
CHECK = all
ARGS  =
COMPILER =

VENV := .venv
BIN  := $(VENV)/bin
LOCKED := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes

.PHONY: help setup kernels serve serve-ray ray-head ray-node no-head ray-deploy export bench bench-all test lint accept docs lock clean

help:
	@echo "make serve    set up and serve a model       (MODEL=auto HOST=127.0.0.1 PORT=5000)"
	@echo "make serve-ray  by several replicas, with Ray   (REPLICAS=2 STORE=redis://127.0.0.1:6379/0)"
	@echo "make ray-head  begin a cluster of machines here  (STORE=redis://10.0.0.4:6379/0)"
	@echo "make ray-node  add this machine to it            (HEAD=10.0.0.1)"
	@echo "make ray-deploy  serve on it; run on the head    (STORE=redis://10.0.0.4:6379/0 MODEL=auto REPLICAS=4)"
	@echo "make export   convert a checkpoint to ONNX   (MODEL=hub id or folder)"
	@echo "make bench    measure this project beside torch and stock Optimum, in 15 minutes"
	@echo "make bench-all  beside every rival, in two hours; goes on where it was interrupted"
	@echo "make test     run the tests, on all cores    (ARGS=tests/one_file.py, or any of pytest's)"
	@echo "make lint     check style and types"
	@echo "make accept   run the acceptance checks      (CHECK=name or all)"
	@echo "make setup    only make the virtual environment and build the kernels (COMPILER=ziglang brings a compiler)"
	@echo "make docs     write the pages that are made from the sources"
	@echo "make lock     pin anew what requirements.txt and requirements/*.txt bring in"
	@echo "make clean    remove it and what was exported"

setup: kernels

# Everything comes as the lock files have it, with hashes, but torch: uv knows where its CPU builds are; where only the
# package index can be reached, pip takes the build that the index has.
$(VENV)/.serve: requirements.txt requirements/service.lock requirements/setup.lock requirements/torch.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "error: Python 3.11 or newer is needed; name one with make PYTHON=python3.11" >&2; exit 1; }
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(LOCKED) -r requirements/setup.lock
	$(LOCKED) -r requirements/service.lock
	@torch="$$(grep '^torch==' requirements.txt)"; \
	    $(BIN)/python -c "import importlib.metadata as m, sys; sys.exit('torch==' + m.version('torch').split('+')[0] != '$$torch')" 2>/dev/null || \
	    UV_HTTP_TIMEOUT=30 UV_HTTP_RETRIES=1 $(BIN)/uv pip install --quiet --no-deps --python $(BIN)/python --torch-backend cpu "$$torch" 2>/dev/null || \
	    $(BIN)/python -m pip install --disable-pip-version-check --constraint requirements/torch.txt "$$torch"
	@touch $@

# Built anew when their sources change. Without a compiler everything works, and takes longer.
kernels: $(VENV)/.serve
	@$(if $(COMPILER),$(LOCKED) -r requirements/compiler.lock)
	@$(BIN)/python -m service.engine.kernels

$(VENV)/.ray: requirements/ray.lock $(VENV)/.serve
	$(LOCKED) -r requirements/ray.lock
	@touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.serve
	$(LOCKED) -r requirements/dev.lock
	@touch $@

serve: kernels
	exec $(BIN)/python -m service $(if $(MODEL),--model $(MODEL)) $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT))

serve-ray: $(VENV)/.ray kernels
	exec $(BIN)/python -m deploy $(if $(MODEL),--model $(MODEL)) $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT)) \
	    $(if $(STORE),--store $(STORE)) $(if $(REPLICAS),--replicas $(REPLICAS))

# Both run until a signal, and leave the cluster then. HOST is this machine as the others reach it, if that is not found.
ray-head: $(VENV)/.ray kernels
	exec $(BIN)/python -m deploy.node $(if $(STORE),--store $(STORE)) $(if $(HOST),--address $(HOST))

ray-node: $(if $(HEAD),$(VENV)/.ray kernels,no-head)
	exec $(BIN)/python -m deploy.node --head $(HEAD) $(if $(HOST),--address $(HOST))

no-head:
	@echo "error: name the head, like make ray-node HEAD=10.0.0.1" >&2; exit 2

ray-deploy: $(VENV)/.ray
	exec $(BIN)/python -m deploy.rollout $(if $(FILE),--file $(FILE)) $(if $(MODEL),--model $(MODEL)) \
	    $(if $(STORE),--store $(STORE)) $(if $(REPLICAS),--replicas $(REPLICAS))

export: $(VENV)/.serve
	$(BIN)/python -m export $(if $(filter-out auto,$(MODEL)),--model $(MODEL))

# Both go on where they stopped when they are interrupted.
bench: kernels
	$(BIN)/python -m benchmarks suite --short

bench-all: kernels
	$(BIN)/python -m benchmarks suite

test: $(VENV)/.dev kernels
	tests/install-system-packages
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

accept: $(VENV)/.dev kernels
	tests/install-system-packages
	$(BIN)/python -m tests.accept $(CHECK)

docs: $(VENV)/.serve
	$(BIN)/python -m service.settings > docs/settings.md

# What people read says which packages are wanted; the lock files say what is installed for that, as of now.
lock: $(VENV)/.serve
	UV=$(abspath $(BIN))/uv requirements/lock

clean:
	rm -rf $(VENV) benchmarks/.cache .accept service/engine/kernels/build
	find models -mindepth 1 -maxdepth 1 -type d ! -name demo -exec rm -rf {} +
