# Developer entry points. Every target is one or two calls into Python; the logic lives there.
# The first call of a target makes .venv and installs what it needs; later calls do nothing.
# CONFIG: a preset (cimforge presets) or a YAML file. ANALOG: the same of the analog tile, from
# configs/analog. SWEEP: a sweep of configs/sweeps or a YAML file. BUILD: the folder of what is
# generated.
PYTHON ?= python3
CONFIG ?= default
ANALOG ?= default
SWEEP  ?= macro
BUILD  ?= build

VENV      := .venv/bin
BOOTSTRAP := @$(PYTHON) scripts/bootstrap.py
# Every worker holds PyTorch and may compile: more than four would want a large memory.
PYTEST    := $(VENV)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: demo test lint verilog sim bench accuracy accuracy-equal adc paper paper-monarch synth \
	sweep apt clean help

demo: ## prune, compile, generate, simulate and report on the embedded model
	$(BOOTSTRAP) demo
	$(VENV)/python -m cimforge demo --config $(CONFIG) --out $(BUILD)/demo

test: ## everything: lint, unit tests, cocotb regressions
	$(BOOTSTRAP) test
	$(VENV)/ruff check .
	$(VENV)/mypy
	$(PYTEST) tests tb

lint: ## ruff and mypy
	$(BOOTSTRAP) lint
	$(VENV)/ruff check .
	$(VENV)/mypy

verilog: ## RTL of CONFIG and of the analog tile ANALOG into $(BUILD)/rtl
	$(BOOTSTRAP) verilog
	$(VENV)/python -m cimforge verilog $(CONFIG) -o $(BUILD)/rtl
	$(VENV)/python -m cimforge verilog $(ANALOG) --analog -o $(BUILD)/rtl

sim: ## cocotb regressions on Verilator
	$(BOOTSTRAP) sim
	$(PYTEST) tb

bench: ## the measured comparisons
	$(BOOTSTRAP) bench
	$(VENV)/python -m cimforge bench --config $(CONFIG)

accuracy: ## the accuracy table of pruning; hours, and goes on if interrupted
	$(BOOTSTRAP) accuracy
	$(VENV)/python -m cimforge accuracy --cells $(BUILD)/accuracy

accuracy-equal: ## plans for latency at equal accuracy; an hour, and goes on if interrupted
	$(BOOTSTRAP) accuracy
	$(VENV)/python -m cimforge accuracy --equal --cells $(BUILD)/accuracy

adc: ## scores against ADC resolution; a quarter of an hour, and goes on if interrupted
	$(BOOTSTRAP) adc
	$(VENV)/python -m cimforge adc --cells $(BUILD)/adc

paper-monarch: ## Monarch factors on analog arrays, ours beside the paper's; a minute
	$(BOOTSTRAP) paper-monarch
	$(VENV)/python -m cimforge paper-monarch

paper: ## both papers' claims beside ours, from the JSON in reports/; exit 1 where a bar is missed
	$(BOOTSTRAP) paper
	$(VENV)/python -m cimforge paper

synth: ## area, worst path and power of CONFIG's blocks, by yosys and OpenSTA (make apt)
	$(BOOTSTRAP) synth
	$(VENV)/python -m cimforge synth $(CONFIG) --model all-MiniLM-L6-v2

sweep: ## the design space of SWEEP on all cores, and its Pareto fronts; goes on if interrupted
	$(BOOTSTRAP) sweep
	$(VENV)/python -m cimforge sweep $(SWEEP) --out $(BUILD)/sweep

apt: ## Debian's synthesis and second-opinion tools (root; optional)
	@sh scripts/apt.sh

clean: ## remove generated files; keeps .venv
	rm -rf $(BUILD) .pytest_cache .mypy_cache .ruff_cache .hypothesis

help: ## this list
	@$(PYTHON) scripts/make_help.py Makefile
