#!/usr/bin/env bash
# serve.sh: migrate, seed an empty catalogue, and run gunicorn on DATABASE_URL and REDIS_URL.
# shellcheck source=steps.sh
. "$(dirname "$0")/steps.sh"

FIRST_PRODUCTS=20000
BIND=${BIND:-127.0.0.1}
export WEB_CONCURRENCY=${WEB_CONCURRENCY:-2} PORT=${PORT:-8000} ALLOWED_HOSTS=${ALLOWED_HOSTS:-localhost,127.0.0.1}

# secret NAME PYTHON: prints what PYTHON printed at the first run of this checkout.
secret() {
    [ -s ".local/run/$1" ] || "$PYTHON" -c "$2" >".local/run/$1"
    cat ".local/run/$1"
}
SECRET_KEY=${SECRET_KEY:-$(secret secret_key 'import secrets; print(secrets.token_urlsafe(60))')}
export SECRET_KEY
printf 'export SECRET_KEY=%q ALLOWED_HOSTS=%q PORT=%q\n' "$SECRET_KEY" "$ALLOWED_HOSTS" "$PORT" >>.local/run/env

port_is_free() { "$PYTHON" -c 'import socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((sys.argv[1], int(sys.argv[2])))' "$BIND" "$PORT" 2>/dev/null; }

# A stand-in for the OAuth2 provider, where none is named. Its clients' secrets are public, so it listens on loopback only.
start_sandbox() {
    local log="$LOGS/run-sandbox.log" _
    : >"$log"  # now: what an earlier run has left would be taken for its address
    setpriv --pdeathsig TERM "$PYTHON" manage.py partner_sandbox --port 0 >"$log" 2>&1 </dev/null &
    for _ in {1..200}; do
        SANDBOX=$(grep -o 'http://[0-9.:]*' "$log" | head -1) && break
        sleep 0.1
    done
    [ -n "${SANDBOX:-}" ] || fail "step \"sandbox\" failed, see ${log#"$PROJECT"/}"
    local webhook_secret settings
    webhook_secret=$(secret webhook_secret 'from integrations.webhooks.signing_secrets import generate; print(generate())')
    settings=(
        "PARTNER_API_URL=$SANDBOX" "PARTNER_WEBHOOK_SECRETS=${PARTNER_WEBHOOK_SECRETS:-$webhook_secret}"
        "OAUTH_TOKEN_URL=$SANDBOX/oauth/token" OAUTH_CLIENT_ID=farmlokal OAUTH_CLIENT_SECRET=farmlokal-secret
        "OAUTH_ISSUER=$SANDBOX" "OAUTH_JWKS_URL=$SANDBOX/.well-known/jwks.json" OAUTH_API_AUDIENCE=farmlokal
    )
    export "${settings[@]}"
    printf 'export %q\n' "${settings[@]}" >>.local/run/env
    step "create_api_client" "$PYTHON" manage.py create_api_client demo --name "The sandbox's consumer" --if-missing
}

welcome() {
    local url=http://127.0.0.1:$PORT
    "$PYTHON" - "$url/readyz" <<'PYTHON' || return 0
import sys, time, urllib.error, urllib.request
for _ in range(150):
    try:
        urllib.request.urlopen(sys.argv[1], timeout=2)
        sys.exit(0)
    except OSError:
        time.sleep(0.1)
sys.exit(1)
PYTHON
    cat <<TEXT

FarmLokal is up:
  $url/products        the catalogue
  $url/docs            its API, described and to try out
  $url/readyz          MySQL and Redis as the service sees them
  $url/admin/          for staff

Three things to try:
  curl -s '$url/products?q=mango&state=maharashtra&sort=price&limit=2'
  curl -s '$url/products?limit=100' | grep -o '"next":"[^"]*"'     # follow it as long as it is not null
  make manage ARGS=createsuperuser                                 # in a second terminal, then open /admin/
$SANDBOX_TEXT
Ctrl-C ends it and the servers that it started.

TEXT
}

step migrate "$PYTHON" manage.py migrate --noinput
port_is_free || fail "port $PORT is taken: PORT=8001 make run"
# Straight to the terminal, for its progress bar; if that fails, once more with its words in a log.
seed=("$PYTHON" manage.py seed_products "$FIRST_PRODUCTS" --if-empty)
"${seed[@]}" || step seed "${seed[@]}"
SANDBOX_TEXT=
if [ -z "${OAUTH_TOKEN_URL:-}${OAUTH_ISSUER:-}" ]; then
    start_sandbox
    SANDBOX_TEXT="
What delivery costs, of the stand-in partner on $SANDBOX, and how it fails (README has a tour):
  curl -s 'http://127.0.0.1:$PORT/products/1/delivery-quote?pincode=560001'
  curl -s -X PUT $SANDBOX/faults -d '{\"error_rate\": 1}'          # {} heals it

Its webhooks, signed (make manage ARGS=\"partner_sandbox send --help\" says what else it sends):
  make -s manage ARGS='partner_sandbox send --products 1,2,3 --events 3 --copies 2 --shuffle'

As a consumer of the API, with a token of the stand-in provider:
  TOKEN=\$(curl -s -u demo:demo-secret -d grant_type=client_credentials $SANDBOX/oauth/token | sed 's/.*\"access_token\": \"\([^\"]*\).*/\1/')
  curl -s -X PATCH http://127.0.0.1:$PORT/products/1 -H \"Authorization: Bearer \$TOKEN\" -H 'Content-Type: application/json' -d '{\"stock\": 7}'
"
fi
welcome &
status=0
# It ends with this script even after a kill -9; tee outlives it by its last lines.
setpriv --pdeathsig TERM .venv/bin/gunicorn --bind "$BIND:$PORT" > >(tee -i "$LOGS/run-gunicorn.log") 2>&1 || status=$?
case $status in 0 | 130 | 143) ;; *) fail "step \"gunicorn\" failed, see .local/log/run-gunicorn.log" ;; esac
