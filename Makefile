.DEFAULT_GOAL := help
.PHONY: help run manage test test-scale format requirements sbom rehearse docs capacity pictures load soak fuzz chaos bench bench-hot bench-zipf bench-cluster bench-restart bench-mixed bench-outage bench-cold bench-costs bench-auth bench-partner bench-webhooks chaos-webhooks deploys bench-seed bench-galera bench-insert bench-listing bench-scale bench-admin bench-migrations

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

run:  ## Serve a sample catalogue on PORT (8000); DATABASE_URL and REDIS_URL replace the private servers
	@exec setpriv --pdeathsig TERM dev/run.sh

manage:  ## Run manage.py ARGS beside a `make run` in another terminal
	@test -f .local/run/env && ! flock --nonblock .local/run/lock true || { echo "make manage: needs a make run in another terminal" >&2; exit 1; }
	@. .local/run/env && exec .venv/bin/python manage.py $(ARGS)

test:  ## Run all checks and tests: format, lint, types, architecture, deployment, pytest (ARGS)
	@exec dev/test.sh $(ARGS)

test-scale:  ## All tests with a MySQL replica and Sentinels, then with Galera and a Redis Cluster (SCALE=replica or galera, ARGS)
	@exec dev/scale.sh $(ARGS)

format:  ## Format the code and fix lint errors
	@dev/install.sh requirements-dev.txt
	@.venv/bin/ruff check --fix --quiet . ; .venv/bin/ruff format .

requirements:  ## Pin the dependencies of pyproject.toml with hashes (ARGS=--upgrade for newer versions)
	@dev/install.sh requirements-dev.txt
	@.venv/bin/uv pip compile --quiet --universal --no-header --generate-hashes $(ARGS) pyproject.toml -o requirements.txt
	@for extra in telemetry sentry; do .venv/bin/uv pip compile --quiet --universal --no-header --generate-hashes $(ARGS) --extra $$extra -c requirements.txt $$(sed -nE 's/^([A-Za-z0-9_.-]+)==.*/--no-emit-package \1/p' requirements.txt) pyproject.toml -o requirements-$$extra.txt || exit 1; done
	@.venv/bin/uv pip compile --quiet --universal --no-header --generate-hashes $(ARGS) --group dev --all-extras -c requirements.txt pyproject.toml -o requirements-dev.txt

sbom:  ## Write the bill of materials of the pinned dependencies to .local/sbom.json (CycloneDX)
	@dev/install.sh requirements-dev.txt
	@dev/sbom.sh .local/sbom.json

rehearse:  ## Build the Dockerfile's stages in Debian chroots, and deploy them as Render does (needs root; minutes)
	@exec dev/rehearse.sh

docs:  ## Fill the generated tables of README.md and docs/, and draw the charts
	@dev/install.sh requirements-dev.txt
	@.venv/bin/python -m dev.docs.generate

capacity:  ## Compute docs/capacity.md: servers, limits and cost by rate and number of products, from the figures and dev/capacity/inputs.py
	@dev/install.sh requirements-dev.txt
	@.venv/bin/python -m dev.capacity

pictures:  ## Take the screenshots of docs/ in a real browser, beside a `make run` in another terminal
	@exec dev/pictures.sh

load:  ## Load URL or a private service with Locust's users; HTML report (USERS=50 SECONDS_OF_LOAD=30 ROWS=100000 STEPS="25 50 100")
	@exec dev/load.sh

soak:  ## The traffic of `make load` at a fixed rate; fails if a process grows (MINUTES=30 RATE=half of the peak ROWS=100000)
	@FARMLOKAL_TARGET=soak exec dev/bench/run.sh soak $(or $(ROWS),100000)

fuzz:  ## Send hostile requests to a private service; fails on a 5xx, a lost worker or an error in the log (REQUESTS=200000 SEED=…)
	@FARMLOKAL_TARGET=fuzz exec dev/bench/run.sh fuzz $(or $(REQUESTS),200000)

chaos:  ## Check what the service promises while a part fails: a row of docs/reliability.md each (FAULTS="redis-killed …")
	@FARMLOKAL_TARGET=chaos exec dev/bench/run.sh chaos

bench:  ## Run the next six, which compare with other servers, in about half an hour (ROWS=1000000 TURNS=5)
	@FARMLOKAL_TARGET=bench dev/bench/tools.sh
	@FARMLOKAL_TARGET=bench exec dev/bench/run.sh comparison $(or $(ROWS),1000000)

bench-hot:  ## 200 cached pages, with Fastify, Express, stock DRF, bare ASGI (ROWS=1000000 TURNS=5 SECONDS=3 MODES="off on")
	@FARMLOKAL_TARGET=bench-hot dev/bench/tools.sh
	@exec dev/bench/run.sh hot $(or $(ROWS),1000000)

bench-zipf:  ## 2,000 cached pages by Zipf's law, with Fastify and bare ASGI (ROWS=1000000 TURNS=5 SECONDS=8)
	@FARMLOKAL_TARGET=bench-zipf dev/bench/tools.sh
	@exec dev/bench/run.sh zipf $(or $(ROWS),1000000)

bench-cluster:  ## Cached pages for 5,000 limited clients, on one Redis and on 3 masters (ROWS=100000 TURNS=5 SECONDS=8)
	@exec dev/bench/run.sh cluster $(or $(ROWS),100000)

bench-restart:  ## The same pages in the first seconds after a restart, with Fastify (ROWS=1000000 TURNS=5 SECONDS=10)
	@FARMLOKAL_TARGET=bench-restart dev/bench/tools.sh
	@exec dev/bench/run.sh restart $(or $(ROWS),1000000)

bench-mixed:  ## Hot pages beside uncached ones on a fixed schedule, with stock DRF (ROWS=1000000 TURNS=5 SECONDS=8)
	@FARMLOKAL_TARGET=bench-mixed dev/bench/tools.sh
	@exec dev/bench/run.sh mixed $(or $(ROWS),1000000)

bench-outage:  ## Hot pages while Redis fails, with Fastify and stock DRF (ROWS=1000000 TURNS=3 SECONDS=10)
	@FARMLOKAL_TARGET=bench-outage dev/bench/tools.sh
	@exec dev/bench/run.sh outage $(or $(ROWS),1000000)

bench-cold:  ## Uncached pages, with their CPU time, with stock DRF (ROWS=1000000 TURNS=5)
	@exec dev/bench/run.sh cold $(or $(ROWS),1000000)

bench-costs:  ## CPU time, statements, Redis round trips and bytes of each kind of request, for `make capacity` (ROWS=1000000 TURNS=5)
	@exec dev/bench/run.sh costs $(or $(ROWS),1000000)

bench-auth:  ## Cost of checking a bearer token, known and new (TURNS=7)
	@exec dev/bench/run.sh auth

bench-partner:  ## Quotes while the partner fails: each fault, and an outage (CALLS=1000 OUTAGE_SECONDS=60 PARTS="faults open outage")
	@exec dev/bench/run.sh partner

bench-webhooks:  ## Webhooks: first deliveries beside duplicates (TURNS=5)
	@exec dev/bench/run.sh webhooks

chaos-webhooks:  ## Check that each webhook counts once while workers, Redis and MySQL are killed (EVENTS=2000 COPIES=10)
	@FARMLOKAL_TARGET=chaos-webhooks exec dev/bench/run.sh chaos_webhooks $(or $(EVENTS),2000) $(or $(COPIES),10)

deploys:  ## Restart two instances behind nginx, then reload them, under load that may lose nothing (GETS=50000 A_SECOND=400)
	@FARMLOKAL_TARGET=deploys exec dev/bench/run.sh deploys $(or $(GETS),50000) $(or $(A_SECOND),400)

bench-seed:  ## seed_products beside LOAD DATA and ALTER TABLE of the same rows (ROWS=1000000)
	@exec dev/bench/run.sh seed $(or $(ROWS),1000000)

bench-galera:  ## seed_products at a node of a Galera cluster, beside a writer at another, in three minutes (ROWS=100000)
	@exec dev/bench/run.sh galera $(or $(ROWS),100000)

bench-insert:  ## POST /products with and without its search entries (ROWS=1000000)
	@exec dev/bench/run.sh insert $(or $(ROWS),1000000)

bench-listing:  ## Time and rows read of each kind of listing, sort and depth, beside raw SQL (ROWS=1000000)
	@exec dev/bench/run.sh listing $(or $(ROWS),1000000)

bench-scale: export MARIADB_OPTIONS ?= --innodb-buffer-pool-size=6G --innodb-log-file-size=2G --innodb-sort-buffer-size=64M
bench-scale:  ## The same listings among a million and among ROWS products: half an hour, and 60 GB of disk (ROWS=10000000)
	@exec dev/bench/run.sh scale $(or $(ROWS),10000000)

bench-admin:  ## Statements, rows read and time of the admin's pages at a tenth of ROWS and at ROWS (ROWS=1000000)
	@exec dev/bench/run.sh admin $(or $(ROWS),1000000)

bench-migrations:  ## Each migration beside a writer and a reader, then the code of the release before (ROWS=1000000)
	@exec dev/bench/run.sh migrations $(or $(ROWS),1000000)
