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

# One thread a process: parallelism is over tests here and over parameter draws in a run. XLA does not read OMP_NUM_THREADS.
TEST_ENV := JAX_PLATFORMS=cpu OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 MPLBACKEND=Agg \
            XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1" PJRT_NPROC=1

.DEFAULT_GOAL := help
.PHONY: help install estimate test test-long bench validate robustness zoo lint notebook clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

install: ## virtual environment with the locked dependencies (idempotent)
	@scripts/install $(VENV)

estimate: install ## the default run: configs/us_hank.toml to results/us_hank (CONFIG=, OUT=, ARGS= change it)
	@$(BIN)/estimhank estimate $(CONFIG) --out $(OUT) $(ARGS)

test: install ## the test suite: no network, no accelerator, a few minutes on two cores
	@$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-long: install ## the tests that take long: kills, recovery, whole runs
	@$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) -m long $(ARGS)

bench: install ## speeds against the sequence-jacobian toolkit, scaling, algorithms, into results/bench (SCALING=: less of it)
	@$(BIN)/python -m benchmarks.speed --out results/bench --page docs/performance.md $(ARGS)
	@$(BIN)/python -m benchmarks.scaling $(SCALING)
	@if test -f $(OUT)/evaluations.bin; then $(BIN)/python -m benchmarks.surrogate_training $(OUT) \
	    --out results/bench/surrogate_training.csv --page docs/surrogate.md; fi

validate: install ## the exact posterior against 40,000 plain random-walk steps a chain, into results/validate
	@$(BIN)/python -m benchmarks.validate $(OUT) --out results/validate $(ARGS)

robustness: install ## the default model on other samples, into results/robustness and docs/robustness.md
	@$(BIN)/python -m benchmarks.robustness --baseline $(OUT) --page docs/robustness.md $(ARGS)

zoo: install ## whole runs on targets whose truth is known, into results/zoo (ARGS="--only disc student_11" visits some)
	@$(BIN)/python -m benchmarks.zoo --out results/zoo $(ARGS)

lint: install ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

notebook: install ## run notebooks/posterior_diagnostics.ipynb on the default results, outputs kept
	@$(BIN)/jupyter-execute --inplace notebooks/posterior_diagnostics.ipynb

clean: ## remove the environment and caches (never results)
	rm -rf $(VENV) .venv-ci .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
