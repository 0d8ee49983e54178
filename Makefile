# make demo   unlearn haze on a small network and report it      make test   the test suite
# make docs   this project's site, into site/                    make lint   ruff
# make clean  remove what make and runs have built
# make torture   kills, mutated option files, damaged images and full disks, not part of make test
# Each sets up .venv first, once. Another Python: make demo PYTHON=python3.12

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?=
# Python 3.13 cannot build BasicSR: give the wheel that the README says how to make, BASICSR=path/to/basicsr-...whl
BASICSR ?= basicsr>=1.4.2

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
READY := $(VENV)/.ready

.PHONY: help demo test docs torture lint clean setup

help:
	@sed -n 's/^# //p' Makefile | head -n 5

demo: $(READY)
	@echo 'Demo: unlearning haze, then measuring and drawing the result. Under 5 minutes on 2 cores.'
	@OMP_WAIT_POLICY=$${OMP_WAIT_POLICY:-passive} $(BIN)/basicsr-unlearn demo

test: $(READY)
	@echo 'Tests: under 10 minutes on 2 cores.'
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -q

docs: $(READY)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo 'Site: site/index.html. With its search: .venv/bin/python -m http.server -d site'

torture: $(READY)
	@echo 'Hostile input: under 15 minutes on 2 cores.'
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.torture

lint: $(READY)
	@$(BIN)/ruff check .

setup: $(READY)

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache site results/demo
	find basicsr_unlearn tests datasets -name __pycache__ -type d -prune -exec rm -rf {} +

# BasicSR is built from source and asks for torch while it builds. With build isolation pip would download torch a second
# time for that, so torch comes first and isolation is off.
$(READY): setup.py
	@find_python() { \
	    for python in $${1:-python3 python3.12 python3.11 python3.10 python}; do \
	        version=$$("$$python" -c 'import sys; print("%d%02d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	        [[ $$version -ge 310 && $$version -le $(if $(filter %.whl,$(BASICSR)),313,312) ]] || continue; \
	        echo "$$python"; return; \
	    done; \
	    { echo "No suitable Python: $${1:-python3} is $$($${1:-python3} --version 2>&1 | head -n 1)."; \
	      echo 'Needed is 3.10, 3.11 or 3.12: make $(or $(MAKECMDGOALS),setup) PYTHON=path/to/python3.12'; \
	      echo 'With 3.13 BasicSR needs a wheel that is made once, see the README: BASICSR=path/to/basicsr-....whl'; } >&2; \
	    return 1; \
	}; \
	python=$$(find_python '$(PYTHON)'); \
	begin=$$(date +%s); \
	step() { printf '  [%3d s] %s\n' $$(($$(date +%s) - begin)) "$$1"; }; \
	echo "Set-up of $(VENV) with $$("$$python" --version): downloads PyTorch, some 3 to 10 minutes. Once."; \
	step 'virtual environment'; \
	"$$python" -m venv --clear $(VENV) || { echo 'On Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }; \
	$(PIP) --upgrade pip 'setuptools>=77.0.3,<82' wheel; \
	step 'PyTorch'; \
	$(PIP) torch torchvision numpy cython; \
	step 'BasicSR'; \
	$(PIP) --no-build-isolation '$(BASICSR)'; \
	step 'basicsr_unlearn, pytest, ruff, mkdocs'; \
	PYTHONWARNINGS=ignore $(PIP) --no-build-isolation --editable '.[dev]'; \
	if ! $(BIN)/python -c 'import cv2' 2>/dev/null; then \
	    step 'OpenCV without its window system, which this machine lacks (libGL)'; \
	    $(BIN)/python -m pip --disable-pip-version-check uninstall --quiet --yes opencv-python; \
	    $(PIP) opencv-python-headless; \
	    $(BIN)/python -c 'import cv2'; \
	fi; \
	touch $@; \
	step 'ready; later calls reuse it'
