# Everything runs in .venv in this checkout; each target makes it when it is missing or out of date.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
SHOP := build/demo/shop
REPOSITORY := build/model_repository
INDEX := build/index
TEMPLATES := $(wildcard model_repository/*/*.pbtxt model_repository/*/*/*) $(wildcard ensemble_configs/*)
CODE := $(shell find export shopwindow -name '*.py' -not -path '*/cli/*' -not -path '*/server/*' -not -path '*/demo*')

.DELETE_ON_ERROR:
# Servers may use the index already, so make must not delete it when the command fails after publishing.
.PRECIOUS: $(INDEX)/CURRENT
.PHONY: help install demo serve test test-fast coverage gpu-check bench bench-index bench-page soak fuzz docs lint format \
	pre-commit pins audit sbom clean

help:  ## list these targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1@\2/p' $(MAKEFILE_LIST) | awk -F@ '{ printf "make %-12s %s\n", $$1, $$2 }'

install: $(READY)  ## make .venv with everything that the other targets need

$(READY): requirements.txt pyproject.toml setup.py client/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable client --editable .
	touch $@

# The files that the demo and the server need. Each step keeps its result, so a second run starts at once.
$(SHOP)/products.parquet: $(shell find shopwindow/demo_shop -name '*.py') | $(READY)
	$(BIN)/python -m shopwindow.demo_shop --out $(SHOP)

$(REPOSITORY)/bundle.json: $(SHOP)/products.parquet $(wildcard shopwindow/demo/checkpoint/*) $(TEMPLATES) $(CODE) | $(READY)
	$(BIN)/shopwindow export --repository $(REPOSITORY)

$(INDEX)/CURRENT: $(REPOSITORY)/bundle.json $(SHOP)/products.parquet
	$(BIN)/shopwindow index --repository $(REPOSITORY) --out $(INDEX)

demo: $(INDEX)/CURRENT  ## start a real Triton on a made-up shop, search it, update it, measure it, stop
	$(BIN)/python -m shopwindow.demo.run

serve: $(INDEX)/CURRENT  ## keep the demo's server up, until Ctrl-C
	$(BIN)/shopwindow serve --repository $(REPOSITORY) --index $(INDEX)

# These tests kill, freeze or overload servers and wait until they are well, so not more than two run at once. The files
# that take longest come first.
HARMING := tests/cli/test_serve.py tests/server/test_watch.py tests/loadtests/sending \
	$(addprefix tests/server/test_,supervisor.py supervisor_serve.py tritonserver.py) \
	$(addprefix tests/loadtests/,peers test_docs.py fuzz bisect) tests/whole_server/test_swaps.py \
	tests/client/sending tests/client/test_async.py tests/indexing/full_build/test_embedders.py
# These compare times, so they run alone, one after the other.
TIMED := tests/client/test_overhead.py tests/client/values/test_timings.py tests/loadtests/generator \
	$(addprefix tests/whole_server/test_,overload.py stages.py)
TOGETHER := -m pytest --dist loadfile --no-loadscope-reorder --durations=20
# All others share the cores; three at once, because many wait for a server.
test: $(READY)  ## the whole test suite, against real servers
	OMP_NUM_THREADS=1 $(BIN)/python $(TOGETHER) -n 3 $(patsubst %,--ignore=%,$(HARMING) $(TIMED))
	$(BIN)/python $(TOGETHER) -n 2 $(HARMING)
	$(BIN)/python -m pytest --durations=5 $(TIMED)

# Rooms whose tests need no server, without the tests that export a repository first.
FAST_TESTS := tests/base tests/client/values tests/deploy/test_deploy.py tests/indexing/catalogue tests/loadtests/judging \
	tests/loadtests/scenario tests/retrieval/duplicates tests/retrieval/embedding tests/retrieval/engines tests/retrieval/request \
	tests/retrieval/search tests/test_import_rules.py tests/towers/data tests/towers/judging tests/towers/objectives \
	tests/triton_models
test-fast: $(READY)  ## tests that need no server: under 90 seconds
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not exported" $(FAST_TESTS)

# Commands that tests start count too. What runs inside Triton's processes does not.
coverage: $(READY)  ## measure how much of the code the tests run; code inside Triton does not count
	mkdir -p build/coverage
	$(BIN)/coverage erase
	OMP_NUM_THREADS=1 $(BIN)/coverage run -m pytest -q $(COVERAGE_TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
COVERAGE_TESTS ?= tests

# Needs a machine with a GPU; writes its figures to docs/benchmarks.md. Without internet, GPU_PYTHON can name an
# interpreter that has the libraries already: see loadtests/shopwindow_loadtests/gpu/parts.py.
GPU_PYTHON ?= $(BIN)/python
gpu-check: $(if $(filter $(BIN)/python,$(GPU_PYTHON)),$(READY))  ## measure towers, search and server on a machine with a GPU
	PYTHONPATH=.:client:export:loadtests$${PYTHONPATH:+:$$PYTHONPATH} $(GPU_PYTHON) -m shopwindow_loadtests.gpu $(GPU_CHECK_ARGS)

# Material for `make bench`: towers of 6 layers x 384, and 200,000 products made from the titles of a catalogue.
STAND := build/stand
STAND_TITLES ?= $(firstword $(wildcard ../shared/data/fashion/dev/products.parquet) $(SHOP)/products.parquet)
$(STAND)/.made: $(STAND_TITLES) $(TEMPLATES) $(CODE) | $(READY)
	rm -rf $(STAND)/model_repository
	$(BIN)/python -m shopwindow_loadtests.peers.bench_material --titles $(STAND_TITLES) --out $(STAND)
	touch $@

# Compare with FastAPI, pytriton and BentoML, and check the targets of serving: 25 minutes on an idle machine.
bench: $(STAND)/.made  ## compare with FastAPI, pytriton and BentoML: 25 minutes
	$(BIN)/python -m shopwindow_loadtests.peers --repository $(STAND)/model_repository --index $(STAND)/index --queries $(STAND)/queries.txt $(BENCH_ARGS)

# The stores that it compares with stay out of .venv.
STORES := build/stores-venv
$(STORES)/.installed: requirements-stores.txt
	$(PYTHON) -m venv $(STORES)
	$(STORES)/bin/python -m pip install --quiet --requirement requirements-stores.txt
	touch $@

bench-page: $(STAND)/.made $(STORES)/.installed  ## measure what result pages cost, beside other stores: 15 minutes
	$(BIN)/python -m shopwindow_loadtests.page_bench $(BENCH_ARGS)

# Measure indexes of 1 and 5 million vectors: hours on two cores, 23 GB of memory. Results in build/bench are kept.
bench-index: $(READY)  ## measure indexes of 1 and 5 million vectors: hours
	$(BIN)/python -m shopwindow_loadtests.index_bench $(BENCH_ARGS)

# 50 swaps, 20 rollbacks and 100 updates under load, then killed and frozen processes: ten to thirty minutes on two idle cores.
soak: $(REPOSITORY)/bundle.json  ## test swaps, rollbacks, updates and kills under load: PASS or FAIL, 10 to 30 minutes
	$(BIN)/python -m shopwindow_loadtests.soak --repository $(REPOSITORY) $(SOAK_ARGS)

# 100,000 hostile requests, checked all the while: ten minutes on two idle cores. Ctrl-C stops it; the same command goes on.
fuzz: $(INDEX)/CURRENT  ## send 100,000 hostile requests and check that nothing breaks: PASS or FAIL, 10 minutes
	$(BIN)/python -m shopwindow_loadtests.fuzz --repository $(REPOSITORY) --index $(INDEX) $(FUZZ_ARGS)

# The reference pages come from the code. What builds the site stays out of .venv.
DOCS := build/docs-venv
$(DOCS)/.installed: requirements-docs.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --requirement requirements-docs.txt
	touch $@

docs: $(READY) $(DOCS)/.installed  ## the documentation as a site in build/site; a broken link is an error
	PYTHONPATH=docs/_tools $(BIN)/python -m reference_pages
	@# Not --quiet: it keeps the warnings from --strict too.
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict
	@echo "read it at http://127.0.0.1:8080 after: python3 -m http.server 8080 --bind 127.0.0.1 --directory build/site"

lint: $(READY)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## format the code, and fix what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

pre-commit: $(READY)  ## run lint on each commit and the fast tests on each push
	$(BIN)/pre-commit install --hook-type pre-commit --hook-type pre-push

# What the containers install, and the tools of these three targets, by version and hash. See deploy/README.md.
TOOLS := build/tools-venv
$(TOOLS)/.installed: requirements-tools.txt
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --require-hashes --requirement requirements-tools.txt
	touch $@

PIN := $(TOOLS)/bin/uv pip compile --quiet --no-config --upgrade --generate-hashes --no-emit-index-url --no-annotate \
	--custom-compile-command 'make pins' --python-platform x86_64-manylinux_2_31
PIN_IMAGE := $(PIN) --python-version 3.12 --constraint requirements.txt
FAISS_IMAGES := faiss-gpu==1.15.1 faiss-gpu-cuvs==1.15.1
pins: $(TOOLS)/.installed  ## write versions and hashes of what the containers install
	$(PIN_IMAGE) deploy/requirements-server.in --output-file deploy/requirements-server.txt
	$(PIN_IMAGE) --constraint deploy/requirements-server.txt deploy/requirements-exporter.in --output-file deploy/requirements-exporter.txt
	for faiss in $(FAISS_IMAGES); do \
		echo $$faiss | $(PIN_IMAGE) --constraint deploy/requirements-server.txt - --output-file deploy/requirements-$${faiss%%==*}.txt || exit; \
	done
	printf '%s\n' cyclonedx-bom pip-audit uv | $(PIN) --python-version 3.11 - --output-file requirements-tools.txt

# pip-audit asks the package registry. With --strict it fails if the registry has no data of a package; without, it would
# call it fine.
audit: $(TOOLS)/.installed  ## look up known vulnerabilities of all pinned packages; needs a registry with such data
	for pins in requirements.txt requirements-docs.txt requirements-stores.txt requirements-tools.txt deploy/requirements-*.txt; do \
		echo $$pins; $(TOOLS)/bin/pip-audit --strict --disable-pip --no-deps --progress-spinner off --requirement $$pins || \
			{ echo "audit: a vulnerability was found, or there was no data; see above" >&2; exit 1; }; \
	done

sbom: $(READY) $(TOOLS)/.installed  ## write build/sbom.json, the packages of .venv as CycloneDX
	$(TOOLS)/bin/cyclonedx-py environment --output-reproducible --of JSON --output-file - $(BIN)/python \
		| $(BIN)/python deploy/sbom.py build/sbom.json

clean:  ## remove build/, with the demo's shop, repository and index
	rm -rf build
