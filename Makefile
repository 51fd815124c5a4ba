# What people and CI call; `make` alone lists it.

PYTHON := .venv/bin/python
INSTALLED := .venv/installed
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run install test integrations torture kills bench store soak lint schema dashboard browser pictures lock clean

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

run: $(INSTALLED) ## Start Runstone on this machine; installs it first
	@$(PYTHON) dashboard/build.py || echo "The pages could not be built; everything else works."
	@exec .venv/bin/runstone up

install: $(INSTALLED) ## Install Runstone and what it needs into .venv
	@true

$(INSTALLED): requirements.lock pyproject.toml
	@sh deploy/with_python.sh deploy/install.py
	@touch $@

# What the tests reach is counted in CI, where fewer than 90 % fail; it costs a quarter of their time.
COVERAGE := $(if $(CI),--cov --cov-report=term --cov-fail-under=90)

# The tests start a hundred processes. Where Python is told to keep no bytecode, each would compile everything anew.
test: export PYTHONDONTWRITEBYTECODE =
test: $(INSTALLED) dashboard browser ## Run the tests on real services; ARGS="-k name" runs some
	$(PYTHON) -P -m pytest $(or $(ARGS),-n 2 --dist loadfile --no-loadscope-reorder $(COVERAGE))

integrations: ## Test runstone.integrations with the real libraries; installs gigabytes into .venv-integrations
	test -x .venv-integrations/bin/python || sh deploy/with_python.sh -m venv .venv-integrations
	.venv-integrations/bin/python -m pip install --quiet -e '.[server,local,dev,integrations]'
	.venv-integrations/bin/python -P -m pytest $(or $(ARGS),tests/integrations)

torture: $(INSTALLED) ## Exactly-once under fire; ARGS="--cycles 200 --seed 7 --minutes 30"
	$(PYTHON) -P -m tests.torture $(ARGS)

kills: $(INSTALLED) ## Trainings that die by kill -9 and are synced; ARGS="--kills 200 --seed 7"
	$(PYTHON) -P -m tests.torture.kills $(ARGS)

bench: $(INSTALLED) ## Measure; ARGS="--quick" in two minutes, ARGS="--peers VENV" beside others
	$(PYTHON) -P -m benchmarks $(ARGS)

store: $(INSTALLED) ## Fill the Runstone that runs here with 100,000 made-up runs; ARGS="--runs 1000"
	$(PYTHON) -P -m benchmarks.store $(ARGS)

soak: $(INSTALLED) ## Live load for an hour: does memory stay flat? ARGS="--minutes 5 --rate 100"
	$(PYTHON) -P -m benchmarks.soak $(ARGS)

lint: $(INSTALLED) ## Check style, format and types
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTHON) dashboard/build.py --check

schema: $(INSTALLED) ## Write schema.graphql from the code
	$(PYTHON) -P -m api.schema > schema.graphql.new
	mv schema.graphql.new schema.graphql

dashboard: $(INSTALLED) ## Build the pages
	$(PYTHON) dashboard/build.py

browser: ## Install Chromium for the browser tests, where that is allowed
	@command -v chromium >/dev/null || sh deploy/install_browser.sh

pictures: $(INSTALLED) dashboard browser ## Save pictures of all pages into docs/images
	$(PYTHON) -P -m tests.browser.screenshot $(ARGS)

lock: ## Resolve pyproject.toml into requirements.lock (needs uv: pip install uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	    --extra server --extra local --extra dev pyproject.toml -o requirements.lock

clean: ## Remove what was installed and built; the data in RUNSTONE_HOME stays
	rm -rf .venv .venv-integrations build dist dashboard/dist dashboard/build dashboard/node_modules .mypy_cache .pytest_cache .ruff_cache .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
