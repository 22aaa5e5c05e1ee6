# Every target sets itself up: the environment is made on the first call and left alone afterwards.

VENV    ?= .venv
BIN     := $(VENV)/bin
CONFIG  ?= configs/us_hank.toml
OUT     ?= results/us_hank
# further options of `estimhank estimate`, e.g. make estimate ARGS="--profile smoke --overwrite"
ARGS    ?=
WORKERS ?= 2
# sizes and parts of the scaling benchmark of `make bench`; 16,000 evaluations an algorithm take some ten minutes
SCALING ?= --budget 16000
# whole runs of `make bench`: with an empty compilation cache and with a full one
FIRST_RUN ?= --cold --config configs/us_hank.toml configs/us_hank_household.toml

# One thread a process: parallelism is over tests here and over parameter draws in a run. XLA does not read OMP_NUM_THREADS.
# Bytecode is kept, whatever the environment says (that of containers often says it is not): the tests start some fifty
# processes, each of which would compile for four seconds what it imports.
TEST_ENV := PYTHONDONTWRITEBYTECODE= JAX_PLATFORMS=cpu OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 MPLBACKEND=Agg \
            XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1" PJRT_NPROC=1

# a finished run to work from, where there is none
RUN_FIRST = @test -f $(OUT)/report.html || $(MAKE) --no-print-directory estimate ARGS=

.DEFAULT_GOAL := help
.PHONY: help install install-test install-docs docs estimate test durations coverage test-long bench validate robustness zoo calibration seeds places fuzz kills holdout global-validation record lint notebook clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-13s %s\n", $$1, $$2}'

estimate: install ## the default run: configs/us_hank.toml to results/us_hank (CONFIG=, OUT=, ARGS= change it)
	@$(BIN)/estimhank estimate $(CONFIG) --out $(OUT) $(ARGS)

test: install-test ## the test suite: no network, no accelerator, a few minutes on two cores
	@$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 10 \
	    --junitxml results/tests/junit.xml $(ARGS)

durations: install-test ## the processor time of the last `make test`, file by file, into CONTRIBUTING.md
	@$(BIN)/python -m benchmarks.durations

coverage: install-test ## the test suite with the share of lines that it runs, which must not fall below the floor in pyproject.toml
	@$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --cov --cov-report=term $(ARGS)

test-long: install-test ## the tests that take long: kills, recovery, whole runs
	@$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) -m long $(ARGS)

lint: install-test ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: install-test ## a whole run, a likelihood, scaling, algorithms, into results/bench (FIRST_RUN=, SCALING=: less of it)
	@$(BIN)/python -m benchmarks.first_run $(FIRST_RUN)
	@$(BIN)/python -m benchmarks.speed $(ARGS)
	@$(BIN)/python -m benchmarks.scaling $(SCALING)
	@$(BIN)/python -m benchmarks.horizon
	@if test -f $(OUT)/posterior.nc; then $(BIN)/python -m benchmarks.economics $(OUT); fi
	@if test -f $(OUT)/evaluations.bin; then $(BIN)/python -m benchmarks.surrogate_training $(OUT) \
	    --out results/bench/surrogate_training.csv; fi

validate: install-test ## the exact posterior against 40,000 plain random-walk steps a chain, into results/validate
	$(RUN_FIRST)
	@$(BIN)/python -m benchmarks.validate $(OUT) $(ARGS)

robustness: install-test ## the default model on other samples, into results/robustness
	$(RUN_FIRST)
	@$(BIN)/python -m benchmarks.robustness --baseline $(OUT) $(ARGS)

zoo: install-test ## whole runs on targets whose truth is known, into results/zoo (ARGS="--only disc student_11": some of them)
	@$(BIN)/python -m benchmarks.zoo --out results/zoo $(ARGS)

calibration: install-test ## simulated data with known truth: recovery and rank statistics, into results/calibration (ARGS="--replications 100")
	@$(BIN)/python -m benchmarks.calibration $(ARGS)

seeds: install-test ## five seeds of every configuration that ships, into results/seeds (ARGS="--config configs/us_hank.toml": one)
	@$(BIN)/python -m benchmarks.seeds $(ARGS)

places: install-test ## one seed with different workers and backends, bit for bit, into results/places
	@$(BIN)/python -m benchmarks.places $(ARGS)

kills: install-test ## whole runs killed at random moments and resumed, bit for bit, into results/kills
	@$(BIN)/python -m benchmarks.kills $(ARGS)

fuzz: install-test ## 100,000 damaged inputs and the errors that they end in, into results/fuzz
	$(RUN_FIRST)
	@$(BIN)/python -m benchmarks.fuzz --run $(OUT) $(ARGS)

global-validation: install-test ## global solutions of Krusell and Smith's economy by variant and seed, into results/global (some 35 minutes)
	@$(BIN)/python -m benchmarks.global_validation $(ARGS)

holdout: install-test ## density forecasts of the default model against an autoregression and a VAR, into results/holdout
	$(RUN_FIRST)
	@$(BIN)/python -m benchmarks.holdout $(OUT) --out results/holdout $(ARGS)

notebook: install-test ## run the notebooks that open a run on the default one, into results/notebooks
	$(RUN_FIRST)
	@mkdir -p results/notebooks
	@for name in posterior_diagnostics responses_and_decompositions forecasts_and_scenarios surrogate_against_exact; do \
	    cp notebooks/$$name.ipynb results/notebooks && ESTIMHANK_RESULTS=$(abspath $(OUT)) $(BIN)/jupyter-execute --inplace \
	    results/notebooks/$$name.ipynb || exit 1; done

record: install-test ## what the pages show, from results/ into docs/recorded
	@$(BIN)/python -m benchmarks.record $(ARGS)

docs: install-docs ## the documentation into site/, warnings as errors; open site/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

install: ## the virtual environment with what a run needs; every target sees to it by itself
	@scripts/install $(VENV) run

install-test: ## the same, with what tests, lint, benchmarks and the notebook need too
	@scripts/install $(VENV) test

install-docs: ## the same, with what builds the documentation
	@scripts/install $(VENV) docs

clean: ## remove the environment and caches (never results)
	rm -rf $(VENV) .venv-ci .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist site *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
