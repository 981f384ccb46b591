# Two commands set everything up: `make demo` and `make test`.
# They need Python 3.10+, a C++ compiler (for torch.compile) and a package index.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DEMO   ?= demo
# The oldest runtime that artefacts must work in (JetPack 6: Python 3.10, ONNX Runtime 1.23.2), tested where
# such a Python is installed.
OLD_PYTHON ?= $(firstword $(wildcard $(HOME)/.pyenv/versions/3.10.*/bin/python3.10) python3.10)
OLD        := $(VENV)/old-runtime

# What one of the many processes of the tests compiles, the next one uses.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test attack fuzz lint format tables schemas docs compat reference-model gpu-test gpu-bench gpu-tensorrt gpu-onnxruntime arm64-check containers-check dist dist-ops dist-plugin dist-sums release-check clean

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 10) else f"Python 3.10 or newer is needed, this is {v.major}.{v.minor}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[cpu,export,dev]'
	touch $@

$(VENV)/.ready-old: $(VENV)/.ready
	if $(OLD_PYTHON) -m venv $(OLD) 2>/dev/null; then $(OLD)/bin/pip install --quiet onnxruntime==1.23.2 numpy; fi
	touch $@

demo: $(VENV)/.ready
	$(BIN)/python -m benchmarks demo $(DEMO)

test: lint $(VENV)/.ready-old
	PATH="$(abspath $(BIN)):$$PATH" MIMAMBA_PY310=$(abspath $(OLD))/bin/python $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Hostile files, options, paths and environments over all verbs. EVERY=1 takes all, some minutes more.
EVERY ?= 6

attack: $(VENV)/.ready
	$(BIN)/python -W ignore -m tests.attack --every $(EVERY) --keep build/attack

# Spoilt files for every reader of outside data.
MINUTES ?= 20

fuzz: $(VENV)/.ready
	$(BIN)/python -W ignore -m tests.fuzz --minutes $(MINUTES)

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The tables of README.md and of docs/ are rendered from the records in benchmarks/results.
tables: $(VENV)/.ready
	$(BIN)/python -m benchmarks render

# Exports models of others and writes docs/compatibility.md; `python -m benchmarks compat --help` says what it needs.
# Large packages may stand in a Python of their own: make compat COMPAT_PYTHON=DIR/bin/python.
COMPAT_PYTHON ?= $(BIN)/python

compat: $(VENV)/.ready
	$(COMPAT_PYTHON) -m benchmarks compat $(ARGS)
	$(BIN)/python -m benchmarks render

# The JSON schemas of docs/formats are made from the types that read and write the files.
schemas: $(VENV)/.ready
	$(BIN)/python docs/formats/generate.py

# The documentation site, into build/docs/html; a warning or a link that leads nowhere is an error.
docs: $(VENV)/.ready
	$(BIN)/python -m docs.builder

# Trains the model that `bench` uses when none is named, on simulated EEG.
reference-model: $(VENV)/.ready
	$(BIN)/python -m benchmarks reference-model

# For a machine with a CUDA device (plugins/README.md). The first needs no environment, the second a Python whose
# torch is built for CUDA, with nothing of ours installed.
GPU_PYTHON ?= python3

gpu-test:
	plugins/gpu_test.sh

gpu-bench:
	$(GPU_PYTHON) -m benchmarks gpu $(ARGS)

gpu-tensorrt: $(VENV)/.ready
	$(BIN)/python -m benchmarks gpu-tensorrt $(MODEL)

# With onnxruntime-gpu in place of onnxruntime in the Python of GPU_PYTHON.
gpu-onnxruntime:
	$(GPU_PYTHON) -m benchmarks gpu-onnxruntime $(MODEL)

# docs/jetson.md under emulation, in Debian's arm64 (benchmarks/arm64 says what it needs); half an hour.
arm64-check: $(VENV)/.ready
	$(BIN)/python -m benchmarks arm64

# The image for CPUs, built and run without Docker (benchmarks/containers.py says what it needs); some minutes.
containers-check: $(VENV)/.ready
	$(BIN)/python -m benchmarks containers $(ARGS)

# What a release holds, each by itself (.github/workflows/release.yml): dist/ grows, nothing is taken away.
dist: $(VENV)/.ready
	$(BIN)/python -m build --outdir dist

# The ops for ONNX Runtime on the CPU, as wheels for both kinds of CPU; one compiler makes them.
dist-ops: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet ziglang
	for cpu in x86_64 aarch64; do $(BIN)/mimamba-edge plugin build --host onnxruntime --wheel dist --arch $$cpu; done

# TensorRT's plugins for a Jetson: make dist-plugin CUDA=12.6 ARCH=87. Needs nvcc of that version, CUDA's Arm libraries,
# g++ for aarch64 and TensorRT's headers (TENSORRT_ROOT, or NVIDIA's package).
MACHINE ?= aarch64

dist-plugin: $(VENV)/.ready
	mkdir -p dist
	$(BIN)/mimamba-edge plugin build --arch $(ARCH) --machine $(MACHINE) --cuda $(CUDA) --archive dist -o build/plugin-$(CUDA)

dist-sums:
	cd dist && rm -f SHA256SUMS && sha256sum * > SHA256SUMS

# Whether TAG can be released; CONTRIBUTING.md has the checklist.
release-check: $(VENV)/.ready
	$(BIN)/python .github/release_check.py $(TAG)

clean:
	rm -rf $(VENV) build dist *.egg-info
