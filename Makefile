# What a person types. `make run` and `make test` need nothing but Python 3.11 or 3.12 and make.

PYTHON ?= $(firstword $(foreach p,python3 python3.12 python3.11,$(if $(shell $(p) -c \
	'import sys; print("yes" if (3, 11) <= sys.version_info[:2] <= (3, 12) else "")' 2>/dev/null),$(p))) python3)
PY := .venv/bin/python
INSTALLED := .venv/.installed
ARGS ?=

PURE := livermore/core exchanges/venue.py exchanges/lifecycle.py exchanges/batching.py exchanges/wire.py \
	exchanges/allowance.py exchanges/holdings.py candles/planning.py exchanges/framing.py exchanges/pacing.py exchanges/placement.py exchanges/silence.py exchanges/subscribing.py \
	symbols/ranking.py symbols/liquidity.py candles/slab.py candles/fold.py candles/audit.py candles/outlier.py candles/indicators \
	candles/signals livermore/watch/ages.py livermore/watch/first.py \
	$(wildcard exchanges/*/session.py exchanges/*/mapper.py)
on = $(filter-out 0 no false off,$(1))

.PHONY: run test check bench chaos services lock

run: $(INSTALLED)
	@$(PY) manage.py up $(if $(call on,$(LIVE)),--live) $(if $(EXCHANGES),--exchanges $(EXCHANGES)) $(ARGS)

test: $(INSTALLED)
	@$(PY) -m pytest -m "not services" --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

check: $(INSTALLED)
	@$(PY) -m ruff check .
	@$(PY) -m mypy --strict $(wildcard $(PURE))
	@$(PY) manage.py check
	@$(PY) manage.py makemigrations --check --dry-run

bench: $(INSTALLED)
	@$(PY) -m tests.bench $(ARGS)

# Hours. ARGS=--short takes minutes; needs a C compiler, for the clock of the deployment it maltreats.
chaos: $(INSTALLED)
	@$(PY) -m tests.chaos $(ARGS)

# Set DATABASE_URL, CELERY_BROKER_URL and STATE_REDIS_URL to the services that are to be tried.
services: $(INSTALLED)
	@$(PY) -m pytest -m services $(ARGS) || test $$? -eq 5
	@$(PY) -m pytest tests/integration/test_end_to_end.py tests/integration/test_exact_candles.py $(ARGS)

# The lock names versions and hashes, never where they come from.
lock:
	@test -x .venv/lock/bin/pip-compile || ($(PYTHON) -m venv .venv/lock && .venv/lock/bin/pip install --quiet pip-tools)
	@CUSTOM_COMPILE_COMMAND="make lock" .venv/lock/bin/pip-compile --quiet --generate-hashes --allow-unsafe \
		--no-strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--annotation-style line --output-file requirements.txt requirements.in

$(INSTALLED): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else \
		f"Python 3.11 or newer is needed; {sys.executable} is {sys.version.split()[0]}. Try: make $(MAKECMDGOALS) PYTHON=python3.12")'
	@$(PY) -m pip --version >/dev/null 2>&1 || { echo "Creating .venv with $$($(PYTHON) --version)"; $(PYTHON) -m venv --clear .venv; }
	@echo "Installing the locked packages into .venv (only when requirements.txt changed)"
	@$(PY) -m pip install --disable-pip-version-check -r requirements.txt
	@touch $@
