"""Django settings, read once from the environment; .env.example lists the variables.

A missing or bad variable stops the start with one line that names it. All other code reads django.conf.settings.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from environs import EnvError, validate

from farmlokal.environment import check_installed, check_needed, check_together, env
from farmlokal.observability import error_reports
from farmlokal.observability.log_formats import LOG_FORMATS
from farmlokal.observability.logs import logging_config

PROJECT = Path(__file__).resolve().parents[1]
HOST = r"\*|\.?[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]"  # a name, .example.com for all below it, an address, or *
ORIGIN = r"https?://[a-z0-9.-]+(:[0-9]{1,5})?"  # browsers send lower case and no path
SAMPLERS = [f"{kind}{name}" for kind in ("parentbased_", "") for name in ("always_on", "always_off", "traceidratio")]
HEADER = r"[!#-'*+.0-9A-Z^-z|~-]+[ \t]*=[ !#-+\--:<-\[\]-~]*"  # as OpenTelemetry's SDK reads it
MIN_KEY_CHARACTERS = 50  # Django's own advice


try:
    DEBUG = env.switch("DEBUG", "off")
    SECRET_KEY = env.str(
        "SECRET_KEY",
        validate=validate.Length(MIN_KEY_CHARACTERS, error="must be random, with at least {min} characters"),
    )
    SECRET_KEY_FALLBACKS = env.names(
        "SECRET_KEY_FALLBACKS",
        "",
        pattern=f".{{{MIN_KEY_CHARACTERS},}}",
        form=f"keys of at least {MIN_KEY_CHARACTERS} characters",
    )
    # Render sets RENDER_EXTERNAL_HOSTNAME; ALLOWED_HOSTS replaces it for a custom domain.
    default_host = filter(None, [env.str("RENDER_EXTERNAL_HOSTNAME", "")])
    ALLOWED_HOSTS = env.names(
        "ALLOWED_HOSTS", *default_host, pattern=HOST, form="host names such as api.example.in", at_least=1
    )
    database = env.mysql_url("DATABASE_URL")
    DATABASE_REPLICA_URL = env.mysql_urls("DATABASE_REPLICA_URL", "")
    DATABASE_FOREIGN_KEYS = env.switch("DATABASE_FOREIGN_KEYS", "on")
    REDIS_URL = env.redis_url("REDIS_URL")
    REDIS_KEY_PREFIX = env.str(
        "REDIS_KEY_PREFIX",
        "farmlokal",
        validate=validate.Regexp(r"[A-Za-z0-9-]+\Z", error="must be letters, digits and dashes"),
    )
    TRUSTED_PROXY_HOPS = env.int(
        "TRUSTED_PROXY_HOPS", 0, validate=validate.Range(min=0, max=10, error="must be from 0 to 10")
    )
    TRUST_FORWARDED_HOST = env.switch("TRUST_FORWARDED_HOST", "off")
    CORS_ALLOWED_ORIGINS = env.names(
        "CORS_ALLOWED_ORIGINS", "", pattern=ORIGIN, form="origins such as https://shop.example"
    )
    LOG_LEVEL = env.level("LOG_LEVEL", "INFO")
    LOG_FORMAT = env.str("LOG_FORMAT", "auto", validate=validate.OneOf(LOG_FORMATS, error="must be one of {choices}"))
    COMMIT = env.str("RENDER_GIT_COMMIT", "")
    # OpenTelemetry's SDK reads these and more of its variables. We check the most usual ones.
    OTEL_EXPORTER_OTLP_ENDPOINT = env.http_url("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT = env.http_url("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
    OTEL_EXPORTER_OTLP_HEADERS = env.names(
        "OTEL_EXPORTER_OTLP_HEADERS", "", pattern=HEADER, form="name=value with other characters percent-encoded"
    )
    OTEL_TRACES_SAMPLER = env.str(
        "OTEL_TRACES_SAMPLER",
        "parentbased_always_on",
        validate=validate.OneOf(SAMPLERS, error="must be one of {choices}"),
    )
    OTEL_TRACES_SAMPLER_ARG = env.float(
        "OTEL_TRACES_SAMPLER_ARG", 1.0, validate=validate.Range(min=0, max=1, error="must be from 0 to 1")
    )
    TRACES_URL = OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
    if not TRACES_URL and OTEL_EXPORTER_OTLP_ENDPOINT:
        TRACES_URL = f"{OTEL_EXPORTER_OTLP_ENDPOINT.rstrip('/')}/v1/traces"
    check_installed("OTEL_EXPORTER_OTLP_ENDPOINT", TRACES_URL, "opentelemetry.exporter.otlp.proto.http", "telemetry")
    SENTRY_DSN = env.sentry_dsn("SENTRY_DSN", "")
    check_installed("SENTRY_DSN", SENTRY_DSN, "sentry_sdk", "sentry")
    RATE_LIMIT_ANONYMOUS = env.rate("RATE_LIMIT_ANONYMOUS", "120/60")
    RATE_LIMIT_CLIENT = env.rate("RATE_LIMIT_CLIENT", "1200/60")
    OAUTH_TOKEN_URL = env.http_url("OAUTH_TOKEN_URL", "")
    OAUTH_CLIENT_ID = env.str("OAUTH_CLIENT_ID", "")
    OAUTH_CLIENT_SECRET = env.str("OAUTH_CLIENT_SECRET", "")
    OAUTH_SCOPE = env.str("OAUTH_SCOPE", "")
    OAUTH_AUDIENCE = env.str("OAUTH_AUDIENCE", "")
    check_together(
        OAUTH_TOKEN_URL=OAUTH_TOKEN_URL, OAUTH_CLIENT_ID=OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET=OAUTH_CLIENT_SECRET
    )
    check_needed(OAUTH_TOKEN_URL, "OAUTH_TOKEN_URL", OAUTH_SCOPE=OAUTH_SCOPE, OAUTH_AUDIENCE=OAUTH_AUDIENCE)
    OAUTH_ISSUER = env.http_url("OAUTH_ISSUER", "")
    OAUTH_JWKS_URL = env.http_url("OAUTH_JWKS_URL", "")
    OAUTH_API_AUDIENCE = env.str("OAUTH_API_AUDIENCE", "")
    check_together(OAUTH_ISSUER=OAUTH_ISSUER, OAUTH_JWKS_URL=OAUTH_JWKS_URL, OAUTH_API_AUDIENCE=OAUTH_API_AUDIENCE)
    PARTNER_API_URL = env.http_url("PARTNER_API_URL", "")
    PARTNER_DEADLINE_SECONDS = env.float(
        "PARTNER_DEADLINE_SECONDS", 2.0, validate=validate.Range(min=0.1, max=30, error="must be from 0.1 to 30")
    )
    PARTNER_WEBHOOK_SECRETS = env.webhook_secrets("PARTNER_WEBHOOK_SECRETS", "")
    REDIS_TIMEOUT_SECONDS = env.float(
        "REDIS_TIMEOUT_SECONDS", 0.2, validate=validate.Range(min=0.01, max=1, error="must be from 0.01 to 1")
    )
    REDIS_HASH_TAGS = env.int(
        "REDIS_HASH_TAGS", 1, validate=validate.Range(min=1, max=64, error="must be from 1 to 64")
    )
    PAGE_COALESCE_SECONDS = env.float(
        "PAGE_COALESCE_SECONDS", 0.0, validate=validate.Range(min=0, max=60, error="must be from 0 to 60")
    )
    METRICS_TOKEN = env.str(
        "METRICS_TOKEN", "", validate=validate.Regexp(r"[!-~]+\Z", error="must be printable ASCII without spaces")
    )
    METRICS = env.switch("METRICS", "on")
    ACCESS_LOG = env.switch("ACCESS_LOG", "on")
    WEB_CONCURRENCY = env.int(
        "WEB_CONCURRENCY", 2, validate=validate.Range(min=1, max=64, error="must be from 1 to 64")
    )
    PORT = env.int("PORT", 8000, validate=validate.Range(min=1, max=65535, error="must be a port, 1 to 65535"))
except EnvError as error:
    sys.exit(re.sub(r"\['(.*)'\]$", r"\1", f"farmlokal: {error}"))  # validators return a list

VERSION: str = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]

ROOT_URLCONF = "farmlokal.urls"
WSGI_APPLICATION = "farmlokal.wsgi.application"
APPEND_SLASH = False

INSTALLED_APPS = [
    "farmlokal",  # first, because its templates replace some of the admin's
    "accounts.apps.StaffAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "accounts",
    "products",
    "integrations",
]
MIDDLEWARE = [
    "farmlokal.observability.logs.RequestLogMiddleware",
    "farmlokal.http.security_headers.SecurityHeadersMiddleware",
    "farmlokal.admin.error_pages.StaffErrorMiddleware",
    "farmlokal.http.exception_handlers.ProblemMiddleware",
    "accounts.authentication.CallerMiddleware",
    "farmlokal.ratelimit.middleware.RateLimitMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "farmlokal.http.middleware.SessionMiddleware",
    "farmlokal.http.middleware.CommonMiddleware",
    "farmlokal.http.middleware.CsrfViewMiddleware",
    "farmlokal.http.middleware.AuthenticationMiddleware",
    "farmlokal.http.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Connections live as long as their thread; farmlokal.mysql replaces a dead one before use.
# The SQL mode is strict on every server, independent of its default. mysql/limits.py adds the service's time limits.
DATABASES = {
    alias: url
    | {
        "ENGINE": "farmlokal.mysql",
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": url["OPTIONS"] | {"charset": "utf8mb4", "connect_timeout": 1, "sql_mode": "TRADITIONAL"},
        "TEST": {"MIRROR": "default"} if number else {"CHARSET": "utf8mb4", "COLLATION": "utf8mb4_unicode_ci"},
    }
    for number, url in enumerate([database, *DATABASE_REPLICA_URL])
    for alias in [f"replica{number}" if number else "default"]
}
DATABASE_ROUTERS = ["farmlokal.mysql.replicas.Router"] if DATABASE_REPLICA_URL else []
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SIMPLE_HISTORY_DATE_INDEX = False  # old changes are found by primary key

CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {
            "CONNECTION_FACTORY": "farmlokal.redis.nodes.CacheConnections",
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
        },
        "KEY_PREFIX": f"{{{REDIS_KEY_PREFIX}}}",  # a hash tag keeps all our keys on one node of a cluster
    }
}

AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in [
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    ]
]

TIME_ZONE = "Asia/Kolkata"  # for staff; the API speaks UTC
FORMAT_MODULE_PATH = ["farmlokal.formats"]

# Served from the installed packages, so a deployment cannot forget a build step.
STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True

# A trusted proxy terminates TLS. Without one the service speaks plain HTTP, over which browsers never return
# a Secure cookie; `check --deploy` then asks for the proxy. farmlokal.edge.forwarded sets the scheme and the host.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = TRUSTED_PROXY_HOPS > 0
LOGIN_REDIRECT_URL = "admin:index"
CSRF_FAILURE_VIEW = "accounts.login_again.csrf_failure"
DEFAULT_EXCEPTION_REPORTER_FILTER = "farmlokal.observability.debug_page.SecretFilter"
SILENCED_SYSTEM_CHECKS = [
    "security.W001",  # farmlokal.http.security_headers replaces SecurityMiddleware; a proxy redirects plain HTTP
    "security.W002",  # and XFrameOptionsMiddleware
    "security.W003",  # farmlokal.http.middleware.CsrfViewMiddleware is Django's own, for the admin and for writes
]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.authentication.BearerAuthentication"],
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_RENDERER_CLASSES": ["farmlokal.http.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "farmlokal.http.renderers.AlwaysFirstRenderer",
    "DEFAULT_METADATA_CLASS": "farmlokal.http.renderers.NoMetadata",
    "EXCEPTION_HANDLER": "farmlokal.http.exception_handlers.handle_exception",
    "DEFAULT_SCHEMA_CLASS": "farmlokal.openapi.auto_schema.Schema",
}
SPECTACULAR_SETTINGS = {
    "OAS_VERSION": "3.1.0",
    "TITLE": "FarmLokal",
    "VERSION": VERSION,
    "TAGS": [
        {
            "name": "catalogue",
            "description": "Offers of farms. Reading is open; API clients and staff may write.",
        },
        {"name": "vocabulary", "description": "The slugs for filters."},
        {"name": "partner", "description": "Events from the partner."},
        {"name": "service", "description": "Health, metrics and this document."},
    ],
    "SORT_OPERATION_PARAMETERS": False,  # keep the order in which the code lists them
    "DISABLE_DOCSTRING_DESCRIPTIONS": True,  # docstrings are for developers
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "COMPONENT_SPLIT_PATCH": False,  # PATCH has a serializer of its own
    "GET_MOCK_REQUEST": "farmlokal.openapi.auto_schema.mock_request",
    "POSTPROCESSING_HOOKS": ["farmlokal.openapi.auto_schema.complete"],
}

LOGGING = logging_config(LOG_LEVEL, LOG_FORMAT, [error_reports.report] if SENTRY_DSN else [])
