# make help lists the targets.

PYTHON ?= python3
CARGO ?= cargo
GDB ?= gdb
# The profile "release" is faster to build than "dist".
WHEEL_PROFILE ?= dist
WHEEL_DIR ?= dist
PYTEST_FLAGS ?= -n auto --dist loadfile

venv := .venv/bin
package := python/gomapscope
target := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help build demo test lint bench fuzz wheel clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1 -- /p' Makefile

build:  ## compile the plugin; then: gdb -x gdb-scripts/gomapscope.py PROGRAM
	@tools/prepare build
	$(CARGO) build --release --locked -p gomapscope-native
# By renaming: a gdb that has the old file mapped keeps it.
	@cp $(target)/release/lib_native.so $(package)/.native.$$$$ && \
	  mv -f $(package)/.native.$$$$ $(package)/_native.abi3.so
	@$(PYTHON) tools/generate.py

demo: build  ## run a Go service under gdb and look into its maps
	@tools/prepare demo
	@PYTHONPATH=python $(venv)/python -m gomapscope demo -gdb $(GDB)

test: build  ## run every test
	@tools/prepare test
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	  $(CARGO) nextest run --workspace --no-tests=pass && $(CARGO) test --workspace --doc; \
	else \
	  $(CARGO) test --workspace; \
	fi
	$(venv)/python -m pytest $(PYTEST_FLAGS)

lint: build  ## check formatting, lints and types
	@tools/prepare test
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(venv)/ruff format --check .
	$(venv)/ruff check .
	$(venv)/mypy
	$(venv)/vermin --quiet --no-tips --violations --eval-annotations -t=3.9- python gdb-scripts
	$(PYTHON) tools/generate.py --check

bench: build  ## measure, as ratios to gdb and memcpy; BENCH_MAX=1e5 for less
	@tools/prepare test
	@GDB=$(GDB) CARGO=$(CARGO) $(venv)/python tests/bench/bench.py

fuzz:  ## fuzz each parser of foreign bytes for SECONDS=60; needs nightly and cargo-fuzz
	@tools/fuzz $(or $(SECONDS),60) $(TARGETS)

wheel:  ## build dist/*.whl, which pip installs on any Linux with glibc 2.17 or later
	@tools/prepare test
	$(venv)/maturin build --locked --profile $(WHEEL_PROFILE) --out $(WHEEL_DIR) \
	  --compatibility manylinux2014 -- -C linker=$(CURDIR)/tools/zigcc

clean:  ## remove what was built; toolchains in the cache stay
	$(CARGO) clean
	rm -rf .venv dist .mypy_cache .pytest_cache .ruff_cache $(package)/_native.abi3.so
