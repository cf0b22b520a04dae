SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test docs bench gpu-check model clean

# Arguments for the command that a target runs: make test ARGS="-k lifting"
ARGS ?=

help: ## Show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: ## Set up everything that the demo, the tests and development need
	@scripts/setup.sh test

demo: ## Camera -> node -> subscriber over DDS, results in out/demo; FRAMES=dir or BAG=path replays a recording
	@scripts/setup.sh demo
	@source env.sh && exec python -m instance_seg_ros.demo.demo \
		$(if $(FRAMES),--frames-dir '$(FRAMES)') $(if $(BAG),--bag '$(BAG)') $(ARGS)

test: ## Run the linters, the type checker and the whole test suite
	@scripts/setup.sh test
	@scripts/test.sh $(ARGS)

docs: ## Build the documentation as one site, out/site/index.html; a dead link is an error
	@scripts/setup.sh test
	@source env.sh && exec python scripts/site.py

bench: ## Time every stage, every runtime and the way between processes; BESIDE=FILE.onnx times another network, too
	@scripts/setup.sh test
	@source env.sh && instance-seg bench $(if $(BESIDE),--beside '$(BESIDE)') $(ARGS)
	@source env.sh && exec python scripts/latency.py $(if $(BESIDE),--beside '$(BESIDE)')

gpu-check: ## Hold every backend on this GPU against the CPU, time it, train a little; ARGS="--captures DIR" adds frames
	@if [[ -d .venv ]]; then source env.sh; fi; exec python3 -m instance_seg_ros.commands.gpu_check $(ARGS)

SCENES ?= 16000
MINUTES ?= 180
model: ## Make a model as the shipped one is made, from nothing, in out/model; resumes; SCENES=frames MINUTES=training time
	@scripts/setup.sh test
	@source env.sh && exec scripts/model.sh out/model $(SCENES) $(MINUTES) $(ARGS)

clean: ## Remove what was built and installed here: .venv, .ros, out and caches
	rm -rf .venv .ros build out *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find instance_seg_ros scripts test -name __pycache__ -prune -exec rm -rf {} +
