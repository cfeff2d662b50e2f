.DEFAULT_GOAL := help
.PHONY: help run manage test format requirements load bench bench-hot bench-cold bench-zipf bench-auth bench-partner bench-webhooks chaos-webhooks bench-seed bench-insert bench-listing bench-scale

help:  ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

run:  ## Serve a seeded catalogue on PORT (8000); DATABASE_URL and REDIS_URL replace the private servers
	@exec dev/run.sh

manage:  ## manage.py ARGS on the servers of a `make run` in another terminal
	@test -f .local/run/env && ! flock --nonblock .local/run/lock true || { echo "make manage: needs a make run in another terminal" >&2; exit 1; }
	@. .local/run/env && exec .venv/bin/python manage.py $(ARGS)

test:  ## The whole gate: format, lint, types, architecture, deployment checks, tests (ARGS for pytest)
	@exec dev/test.sh $(ARGS)

format:  ## Format the code, and mend what the linter can
	@dev/install.sh requirements-dev.txt
	@.venv/bin/ruff check --fix --quiet . ; .venv/bin/ruff format .

requirements:  ## Pin what pyproject.toml asks for, with hashes (ARGS=--upgrade for newer versions)
	@dev/install.sh requirements-dev.txt
	@.venv/bin/uv pip compile --quiet --universal --no-header --generate-hashes $(ARGS) pyproject.toml -o requirements.txt
	@.venv/bin/uv pip compile --quiet --universal --no-header --generate-hashes $(ARGS) --group dev -c requirements.txt pyproject.toml -o requirements-dev.txt

load:  ## A realistic mixture by Locust, on URL or a service of its own; HTML report (USERS=50 SECONDS_OF_LOAD=30 ROWS=100000)
	@exec dev/load.sh

bench:  ## Hot, cold and mixed pages beside Fastify, Express, stock DRF and a bare ASGI server (ROWS=1000000 TURNS=5)
	@FARMLOKAL_TARGET=bench dev/bench/tools.sh
	@FARMLOKAL_TARGET=bench exec dev/bench/run.sh bench $(or $(ROWS),1000000)

bench-hot:  ## Of these, the hot page alone (TURNS=5 SECONDS=6 MODES=off)
	@FARMLOKAL_TARGET=bench-hot dev/bench/tools.sh
	@exec dev/bench/run.sh hot

bench-cold:  ## Of these, the cold pages alone (ROWS=1000000 TURNS=5)
	@exec dev/bench/run.sh cold $(or $(ROWS),1000000)

bench-zipf:  ## Of these, the mixture alone (ROWS=1000000 ZIPF_SECONDS=30)
	@exec dev/bench/run.sh zipf $(or $(ROWS),1000000)

bench-auth:  ## What checking a bearer token costs, seen before and new (TURNS=7)
	@exec dev/bench/run.sh auth

bench-partner:  ## Quotes while the partner fails: each fault's end, and an outage (CALLS=1000 OUTAGE_SECONDS=60 PARTS="faults open outage")
	@exec dev/bench/run.sh partner

bench-webhooks:  ## First deliveries beside copies of what is done (TURNS=5)
	@exec dev/bench/run.sh webhooks

chaos-webhooks:  ## Webhooks while workers, Redis and MySQL are killed: each counts once (EVENTS=2000 COPIES=10)
	@FARMLOKAL_TARGET=chaos-webhooks exec dev/bench/run.sh chaos_webhooks $(or $(EVENTS),2000) $(or $(COPIES),10)

bench-seed:  ## seed_products against LOAD DATA and ALTER TABLE of the same rows (ROWS=1000000)
	@exec dev/bench/run.sh seed $(or $(ROWS),1000000)

bench-insert:  ## POST /products with and without its search entries (ROWS=1000000)
	@exec dev/bench/run.sh insert $(or $(ROWS),1000000)

bench-listing:  ## Every kind of listing, sort and depth: time and rows read, beside raw SQL (ROWS=1000000)
	@exec dev/bench/run.sh listing $(or $(ROWS),1000000)

bench-scale:  ## The same listings among 50,000 and among ROWS products (ROWS=5000000)
	@exec dev/bench/run.sh scale $(or $(ROWS),5000000)
