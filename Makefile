# The two commands: `make up` runs all of Holdfast here, `make test` proves it. `make help` lists the rest.
# Paths are relative throughout: make's own targets cannot hold spaces, the checkout's path may.

PYTHON ?= python3
PIP := .venv/bin/python -m pip --disable-pip-version-check --quiet
# Rewritten by the image's build in the same words; see the Dockerfile.
INSTALL_LOCKED := install --require-hashes -r
STAMP := .venv/installed
COMPILE := uv pip compile pyproject.toml --universal --generate-hashes --no-emit-index-url --no-header --quiet
TIMES ?= 1
CLIENTS ?= 20000
SEATS ?= 1000
SEEDS ?= 1000
STEPS ?= 250
REQUESTS ?= 50000
MINUTES ?= 5
ROUNDS ?= 1000
# More than most machines have cores: many tests wait for what they have started. Each collects all tests first.
TEST_PROCESSES ?= 7
# The tests of `make tools` compute.
TOOLS_PROCESSES ?= 3

# Without bytecode each of the many processes would compile the sources anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup up test tools coverage check format docs site picture pictures clients bench rush simulate chaos races fuzz migrations lock clean

help: ## List the commands
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

setup: $(STAMP) ## Install the locked dependencies, and the hook that runs `make check` before each commit
	@.venv/bin/pre-commit install

up: $(STAMP) ## Run the local stack until Ctrl-C; options in ARGS="--scale booking=2"
	@exec .venv/bin/python -m ops up $(ARGS)

test: $(STAMP) ## Run all tests of the product; pytest's options in ARGS="-k booking -x"
	@.venv/bin/python -m pytest -n $(TEST_PROCESSES) --dist loadscope --no-loadscope-reorder -m "not tools" $(ARGS)

tools: $(STAMP) ## Run the tests of what surrounds it: benchmark, sandbox, documents, packages; ARGS as above
	@.venv/bin/python -m pytest -n $(TOOLS_PROCESSES) --dist loadscope --no-loadscope-reorder -m tools $(ARGS)

coverage: $(STAMP) ## Run the tests and print how much of the code they ran, in percent; pytest's options in ARGS
	@rm -f .coverage .coverage.*
	@.venv/bin/coverage run -m pytest -n $(TEST_PROCESSES) --dist loadscope --no-loadscope-reorder $(ARGS); tests=$$?; \
		.venv/bin/coverage combine --quiet && echo "coverage: $$(.venv/bin/coverage report --format=total) %" && \
		echo "by file: .venv/bin/coverage report; by line: .venv/bin/coverage html" && exit $$tests

check: $(STAMP) ## Lint, formatting, types, imports, generated pages, retired words, known vulnerabilities
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python -m documents --check
	.venv/bin/python -m documents.words
	.venv/bin/python -m release.advisories

format: $(STAMP) ## Put the code into its form
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

site: $(STAMP) ## Build the documentation's pages into site/; a link that leads nowhere fails it
	@rm -rf site
	@.venv/bin/sphinx-build --quiet --fail-on-warning --fresh-env --jobs auto --conf-dir website \
		--doctree-dir build/site --builder html . site
	@.venv/bin/python -m website.hosts site && echo "The start page is site/index.html"

picture: $(STAMP) ## Record a first booking on a stack of its own for the README: docs/pictures/first-booking.svg
	@.venv/bin/python -m pictures

pictures: $(STAMP) ## Take pictures of every page and state into build/pictures, and renew those of the documents (needs chromium)
	@.venv/bin/python -m tests.pages $(ARGS)

docs: $(STAMP) ## Write docs/schema.md, docs/messages.md, the clients' types and the glossary's retired words anew, from the code
	@.venv/bin/python -m documents
	@.venv/bin/python -m documents.words --write

clients: $(STAMP) ## Pack the clients for JavaScript and Python into dist/, with this version (needs npm)
	@.venv/bin/python -m release.clients dist

bench: $(STAMP) ## Measure the real processes, and judge every goal; firmer figures with TIMES=2
	@.venv/bin/python -m bench --times $(TIMES) $(ARGS)

rush: $(STAMP) ## Watch a rush: CLIENTS=20000 for SEATS=1000, more in ARGS="--within 4 --gateway 2"
	@.venv/bin/python -m bench.rush --clients $(CLIENTS) --seats $(SEATS) $(ARGS)

simulate: $(STAMP) ## Play seeded schedules with every fault: SEEDS=1000 STEPS=250, or one with its story: SEED=1
	@.venv/bin/python -m tests.simulation --seeds $(SEEDS) --steps $(STEPS) $(if $(SEED),--seed $(SEED)) \
		$(if $(PLANTED),--planted $(PLANTED)) $(ARGS)

chaos: $(STAMP) ## Harm the real processes and see what they promise kept: MINUTES=5 SEED=1 REPORT=chaos.md
	@.venv/bin/python -m tests.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) \
		$(if $(REPORT),--report "$(REPORT)") $(ARGS)
	@HOLDFAST_MANY=1000 .venv/bin/python -m pytest -q tests/acceptance/test_event_cancellation.py tests/acceptance/test_expiry.py

races: $(STAMP) ## Many clients after few seats while actors are killed: ROUNDS=1000 SEED=1 FIRST=0
	@.venv/bin/python -m tests.races --rounds $(ROUNDS) $(if $(FIRST),--first $(FIRST)) $(if $(SEED),--seed $(SEED)) $(ARGS)
	@$(if $(FIRST),,HOLDFAST_EXAMPLES=$(ROUNDS) .venv/bin/python -m pytest -q \
		tests/races/test_leases.py tests/races/test_processes.py tests/races/test_stress.py tests/common/test_mailbox_model.py)

fuzz: $(STAMP) ## Send bad input to the real processes; how much in REQUESTS=50000
	@.venv/bin/python -m tests.fuzz --requests $(REQUESTS) $(ARGS)

migrations: $(STAMP) ## Write the migration for changed models: APP=booking NAME=what_changes
	@test -n "$(APP)" -a -n "$(NAME)" || { echo "say which: make migrations APP=booking NAME=what_changes" >&2; exit 1; }
	.venv/bin/tortoise -c ops.migrate.$(shell echo '$(APP)' | tr a-z A-Z) makemigrations $(APP) --name $(NAME)

lock: $(STAMP) ## Resolve the dependencies anew, also the tests' generators of clients (needs uv and npm)
	@command -v uv >/dev/null || { echo "uv is missing: https://docs.astral.sh/uv/" >&2; exit 1; }
	$(COMPILE) --all-extras -o requirements.lock
	$(COMPILE) -c requirements.lock -o requirements.prod.lock
	$(subst pyproject.toml,tests/generators/python.in --python-version 3.11,$(COMPILE)) -o tests/generators/python.txt
	.venv/bin/python -m tests.generators --lock

clean: ## Delete .venv, .bench, site and caches; the data in .holdfast stays
	rm -rf .venv .bench .coverage .coverage.* .coverage-html build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache ./*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Holdfast needs Python 3.11 or newer, and $(PYTHON) is not: set PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "Python's venv module is missing: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing the locked dependencies into .venv (once, about a minute) ..."
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@$(PIP) $(INSTALL_LOCKED) requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@
