#!/usr/bin/env bash
# serve.sh: migrates, seeds an empty catalogue, and runs gunicorn with DATABASE_URL and REDIS_URL.
# shellcheck source=dev/steps.sh
. "$(dirname "$0")/steps.sh"

FIRST_PRODUCTS=20000
BIND=${BIND:-127.0.0.1}
export WEB_CONCURRENCY=${WEB_CONCURRENCY:-2} PORT=${PORT:-8000} ALLOWED_HOSTS=${ALLOWED_HOSTS:-localhost,127.0.0.1}

# secret NAME PYTHON: prints a secret of this checkout; PYTHON generates it in the first run.
secret() {
    [ -s ".local/run/$1" ] || "$PYTHON" -c "$2" >".local/run/$1"
    cat ".local/run/$1"
}
SECRET_KEY=${SECRET_KEY:-$(secret secret_key 'import secrets; print(secrets.token_urlsafe(60))')}
export SECRET_KEY
printf 'export SECRET_KEY=%q ALLOWED_HOSTS=%q PORT=%q\n' "$SECRET_KEY" "$ALLOWED_HOSTS" "$PORT" >>.local/run/env

# port_is_free ADDRESS PORT
port_is_free() { "$PYTHON" -c 'import socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((sys.argv[1], int(sys.argv[2])))' "$@" 2>/dev/null; }

# Starts the sandbox as partner and OAuth2 provider, on the port after the service's if that is free.
# Its clients' secrets are public, so it listens on loopback only.
start_sandbox() {
    local log="$LOGS/run-sandbox.log" port=$((PORT + 1)) _
    port_is_free 127.0.0.1 "$port" || port=0
    : >"$log"  # the address from an earlier run must not count
    setpriv --pdeathsig TERM "$PYTHON" manage.py partner_sandbox --port "$port" >"$log" 2>&1 </dev/null &
    for _ in {1..600}; do
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
for _ in range(600):
    try:
        urllib.request.urlopen(sys.argv[1], timeout=2)
        sys.exit(0)
    except OSError:
        time.sleep(0.1)
sys.exit(1)
PYTHON
    cat <<TEXT

FarmLokal is up:
  $url/                this service, for people
  $url/products        the catalogue
  $url/docs            its API
  $url/readyz          the state of MySQL and Redis
  $url/admin/          for staff

Three things to try:
  curl -s '$url/products?q=mango&state=maharashtra&sort=price&limit=2'
  curl -s '$url/products?limit=100' | grep -o '"next":"[^"]*"'     # follow this link until it is null
  make manage ARGS=createsuperuser                                 # in a second terminal, then open /admin/

Staff to log in as at $url/admin/, one for each role:
$STAFF_TEXT
  make manage ARGS='changepassword auditor'                        # sets a new password
$SANDBOX_TEXT
Ctrl-C stops the service and its servers.

TEXT
}

port_is_free "$BIND" "$PORT" || fail "port $PORT is taken; try PORT=8001 make run"
step migrate "$PYTHON" manage.py migrate --noinput
# Not by `step`: its log would keep the passwords.
DEMO_STAFF=$("$PYTHON" manage.py create_demo_staff) || fail "cannot create the demo staff"
# First with the progress bar on the terminal; if that fails, again with the output in a log.
seed=("$PYTHON" manage.py seed_products "$FIRST_PRODUCTS" --if-empty)
"${seed[@]}" || step seed "${seed[@]}"
STAFF_TEXT=${DEMO_STAFF:+$(sed 's/^/  /' <<<"$DEMO_STAFF")
  These passwords are shown only now.}
STAFF_TEXT=${STAFF_TEXT:-  catalogue-editor, catalogue-viewer, webhook-operator, auditor, operator}
SANDBOX_TEXT=
if [ -z "${OAUTH_TOKEN_URL:-}${OAUTH_ISSUER:-}" ]; then
    start_sandbox
    SANDBOX_TEXT="
A delivery quote from the sandbox partner on $SANDBOX, and a failing partner:
  curl -s 'http://127.0.0.1:$PORT/products/1/delivery-quote?pincode=560001'
  curl -s -X PUT $SANDBOX/faults -d '{\"error_rate\": 1}'          # {} ends the fault

Signed webhooks from the partner (more: make manage ARGS=\"partner_sandbox send --help\"):
  make -s manage ARGS='partner_sandbox send --products 1,2,3 --events 3 --copies 2 --shuffle'

A write as an API client, with a token from the sandbox:
  TOKEN=\$(curl -s -u demo:demo-secret -d grant_type=client_credentials $SANDBOX/oauth/token | sed 's/.*\"access_token\": \"\([^\"]*\).*/\1/')
  curl -s -X PATCH http://127.0.0.1:$PORT/products/1 -H \"Authorization: Bearer \$TOKEN\" -H 'Content-Type: application/json' -d '{\"stock\": 7}'
"
fi
# Jobs of the admin go on without an open page. This ends with the script, too.
setpriv --pdeathsig TERM "$PYTHON" manage.py run_jobs >"$LOGS/run-jobs.log" 2>&1 </dev/null &
welcome &
status=0
# gunicorn writes into a pipe, so it cannot see the terminal.
[ ! -t 1 ] || LOG_FORMAT=${LOG_FORMAT:-pretty}
# gunicorn ends with this script even after SIGKILL; tee ignores Ctrl-C to log gunicorn's last lines.
LOG_FORMAT=${LOG_FORMAT:-} setpriv --pdeathsig TERM .venv/bin/gunicorn --bind "$BIND:$PORT" > >(tee -i "$LOGS/run-gunicorn.log") 2>&1 || status=$?
case $status in 0 | 130 | 143) ;; *) fail "step \"gunicorn\" failed, see .local/log/run-gunicorn.log" ;; esac
