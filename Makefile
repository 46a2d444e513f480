# Everything happens in .venv, which `make` creates. PYTHON chooses the interpreter it is made with.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# The predecessor that `make bench` compares with.
MANGUM = .venv-mangum
# The tools that lint, pack and deploy the templates.
DEPLOY = .venv-deploy
PROVIDER = .venv-terraform

.PHONY: demo test parity storm chaos kills fuzz scale runtimes emulators deploy-test live check fmt lint types cov bench costs build site clean

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,instances,http,testing,sqlite3,redis,postgresql,psycopg,dynamodb,s3,otel,doctor]' --group test --group check
	touch $@

# The demo needs far less than the tests.
$(VENV)/demo-installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' starlette
	touch $@

demo: $(VENV)/demo-installed
	$(BIN)/python examples/demo.py

# All but the slow ones, which are a tenth of them and take three quarters of the time; `make cov`
# runs all. As many processes as there are cores; WORKERS=0 runs all in one, as a debugger wants it.
WORKERS ?= auto
RUN = $(BIN)/python
PYTEST = -m pytest -n $(WORKERS) --dist loadfile
WHICH = -m 'not slow'

test: $(VENV)/installed
	$(RUN) $(PYTEST) $(WHICH)

# A thousand clients join, crash, leave and come back at once; `make cov` does it with fewer.
storm: $(VENV)/installed
	LONGWIRE_TEST_STORM=1000 $(BIN)/python -m pytest tests/test_storm.py

# Every conversation of every framework, also in parallel, in frozen processes and with each store.
parity: $(VENV)/installed
	LONGWIRE_TEST_PARITY=1 $(BIN)/python -m pytest tests/parity/test_frameworks.py

# Kills, lost replies and posts, events in any order: `make chaos SEED=7 CONVERSATIONS=10000`, and
# with `replay`: `make chaos REPLAY=1`, as for the next one.
SEED ?= 1
CONVERSATIONS ?= 3000
WITH_REPLAY = $(if $(REPLAY),--replay)
chaos: $(VENV)/installed
	$(BIN)/python -m tests.campaigns.chaos --seed $(SEED) --conversations $(CONVERSATIONS) $(WITH_REPLAY)

# kill -9 under `longwire dev --instances 3 --freeze`: `make kills SEED=7 KILLED=2000`.
KILLED ?= 500
kills: $(VENV)/installed
	$(BIN)/python -m tests.campaigns.kills --seed $(SEED) --conversations $(KILLED) $(WITH_REPLAY)

# Mutated events and generated apps: `make fuzz SEED=7 SECONDS=600`.
SECONDS ?= 60
fuzz: $(VENV)/installed
	$(BIN)/python -m tests.campaigns.fuzz --seed $(SEED) --seconds $(SECONDS)

# What happens with a million connections, in simulated time: `make scale SEED=7 MOST=10000`. INTO=
# writes the tables into a page that has marks for them, as docs/large-groups.md does.
MOST ?= 1000000
scale: $(VENV)/installed
	$(BIN)/python -m tests.campaigns.scale --seed $(SEED) --most $(MOST) $(INTO:%=--into %)

# What relies on the inside of Lambda's runtime, under more of its releases than the installed one.
RUNTIMES ?= 3.0.0 3.1.1 4.0.4 4.1.0 4.2.2
UNDER_RUNTIMES = tests/local/function/test_as_lambda.py \
	$(addprefix tests/runtime/test_, extension_api.py passed_events.py waiting.py)
runtimes: $(RUNTIMES:%=.runtimes/%)
	for folder in $^; do \
		echo $$folder; \
		PYTHONPATH=$$folder $(BIN)/python $(PYTEST) $(UNDER_RUNTIMES) || exit 1; \
	done

.runtimes/%: | $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $@ awslambdaric==$*

# Emulators of API Gateway, Lambda and DynamoDB that others wrote, AWS's own Lambda core among them;
# the first run fetches them with npm and Go.
emulators: $(VENV)/installed
	LONGWIRE_TEST_EMULATORS=1 $(BIN)/python -m pytest -rs tests/emulators

# What `longwire template` writes, linted, packed, deployed to an emulator of AWS, and talked to. A tool
# that cannot be had is skipped, with the reason; LONGWIRE_TEST_DEPLOY=all makes that a failure.
deploy-test: $(VENV)/installed
	-$(MAKE) $(DEPLOY)/installed
	-$(MAKE) $(PROVIDER)/installed
	LONGWIRE_TEST_DEPLOY=$${LONGWIRE_TEST_DEPLOY:-1} $(BIN)/python $(PYTEST) -rs tests/deploy tests/live/test_on_an_emulator.py

$(DEPLOY)/installed: tests/deploy/tools.txt
	$(PYTHON) -m venv $(DEPLOY)
	$(DEPLOY)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

# What is believed of AWS, measured in your own account: docs/live.md. It asks before it makes
# anything, and removes all of it. CLEAN=1 removes what an earlier run has left.
LIVE_OPTIONS = $(if $(CLEAN),--clean) $(if $(LONG),--long) $(if $(FRAMEWORKS),--frameworks $(FRAMEWORKS)) \
	$(if $(MANAGED_SUBNETS),--managed-subnets $(MANAGED_SUBNETS)) \
	$(if $(MANAGED_SECURITY_GROUPS),--managed-security-groups $(MANAGED_SECURITY_GROUPS)) \
	$(if $(JSON),--json $(JSON)) $(if $(MARKDOWN),--markdown $(MARKDOWN))
live: $(VENV)/installed $(DEPLOY)/installed
	LIVE=$(LIVE) $(BIN)/python -m tests.live $(LIVE_OPTIONS)

$(PROVIDER)/installed: tests/deploy/terraform.txt
	$(PYTHON) -m venv $(PROVIDER)
	$(PROVIDER)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

check: lint types site cov storm

fmt: $(VENV)/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# As on the other systems, too; and how much of the packages' own types pyright can be sure of.
types: $(VENV)/installed
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32 adapter backends examples
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin adapter backends examples
	$(BIN)/python .ci/completeness.py

cov: $(VENV)/installed
	$(MAKE) test RUN='$(BIN)/python .ci/again.py $(BIN)/coverage run' WHICH=--cache-clear
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# A quarter of an hour; `make bench ROWS=events,posts STORES=redis QUICK=1` looks at a part of it. BEFORE=COMMIT is
# what to compare with; otherwise the last release. Without Mangum, fewer others are shown.
BENCH = $(if $(ROWS),--rows $(ROWS)) $(if $(STORES),--stores $(STORES)) $(if $(QUICK),--quick) \
	$(if $(BEFORE),--before $(BEFORE))
bench: $(VENV)/installed
	-$(MAKE) $(MANGUM)/installed
	$(BIN)/python -m benchmarks.run $(BENCH) $$(test ! -e $(MANGUM)/installed || echo --mangum $(MANGUM)/bin/python)

# What an event costs and why, as docs/performance.md and docs/choose-a-store.md have it; WRITE=1
# writes it there.
costs: $(VENV)/installed
	$(BIN)/python -m benchmarks.costs $(if $(WRITE),--write)

$(MANGUM)/installed: benchmarks/mangum.txt
	$(PYTHON) -m venv $(MANGUM)
	$(MANGUM)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

# The documents with search and a reference, in .site/html; `make site SERVE=1` serves them.
SITE = .venv-site
site: $(SITE)/installed
	$(SITE)/bin/python .ci/site/build.py $(if $(SERVE),--serve)

$(SITE)/installed: .ci/site/requirements.txt
	$(PYTHON) -m venv $(SITE)
	$(SITE)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

clean:
	rm -rf $(VENV) $(MANGUM) $(DEPLOY) $(PROVIDER) $(SITE) .site .emulators .runtimes dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
