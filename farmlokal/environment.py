"""Parses environment variables: the parsers beyond those of environs, and rules about several variables.

farmlokal.settings reads all variables through `env`. An EnvError names the variable.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from environs import Env, EnvError, ValidationError

from farmlokal.mysql import url as mysql_url
from farmlokal.observability.logs import LOG_LEVELS
from farmlokal.ratelimit import rate_format
from farmlokal.redis import url as redis_url
from integrations.webhooks import signing_secrets

SWITCH = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}


class TidyEnv(Env):
    """Takes an empty variable for its default, and drops whitespace that was copied along with a value."""

    def _get_value(self, env_key: str, default: Any) -> Any:
        value = super()._get_value(env_key, default)
        return (value.strip() or default) if isinstance(value, str) else value


env = TidyEnv()


def _parser(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Adapt a function that raises ValueError."""

    def parse_variable(value: str) -> Any:
        try:
            return parse(value)
        except ValueError as error:
            raise ValidationError(str(error)) from error

    return parse_variable


env.add_parser("mysql_url", _parser(mysql_url.parse))
env.add_parser("mysql_urls", _parser(mysql_url.parse_several))
env.add_parser("redis_url", _parser(redis_url.parse))
env.add_parser("rate", _parser(rate_format.parse))


@env.parser_for("names")
def parse_names(value: str, pattern: str = ".+", form: str = "names", at_least: int = 0) -> list[str]:
    """Split at commas. form describes the names in the error."""
    names = [name.strip() for name in value.split(",")] if value else []
    if len(names) < at_least or not all(re.fullmatch(pattern, name) for name in names):
        raise ValidationError(f"must be {form}, with commas between several")
    return names


@env.parser_for("http_url")
def parse_http_url(value: str) -> str:
    """Accept https://host/path, or nothing."""
    if value and not _is_url(value, r"https?://[^\s/?#@]+(/[^\s#]*)?"):
        raise ValidationError("must look like https://host/path")
    return value


@env.parser_for("sentry_dsn")
def parse_sentry_dsn(value: str) -> str:
    """Accept https://key@host/number, or nothing."""
    if value and not _is_url(value, r"https?://[^\s/@:]+(:[^\s/@]*)?@[^\s/@:][^\s/@?#]*(/[^\s?#]*)?/\d+"):
        raise ValidationError("must look like https://key@host/number")
    return value


def _is_url(value: str, pattern: str) -> bool:
    try:
        return bool(re.fullmatch(pattern, value)) and urlsplit(value).port != 0
    except ValueError:  # the port is not a number, or too large
        return False


@env.parser_for("webhook_secrets")
def parse_webhook_secrets(value: str) -> list[str]:
    """Accept whsec_ and base64, as Standard Webhooks writes secrets; several while one replaces another."""
    secrets: list[str] = parse_names(value)
    if "v1" in secrets:
        raise ValidationError("must be whsec_ and base64, without the v1, in front of it")
    for secret in secrets:
        try:
            signing_secrets.decode(secret)
        except ValueError as error:
            least = signing_secrets.MIN_KEY_BYTES
            raise ValidationError(
                f"must be whsec_ and base64 of {least} bytes or more, with commas between several"
            ) from error
    return secrets


@env.parser_for("switch")
def parse_switch(value: str) -> bool:
    try:
        return SWITCH[value.lower()]
    except KeyError:
        raise ValidationError("must be on or off; true and false, 1 and 0 work, too") from None


@env.parser_for("level")
def parse_log_level(value: str) -> str:
    if value.upper() not in LOG_LEVELS:
        raise ValidationError(f"must be one of {', '.join(LOG_LEVELS)}")
    return value.upper()


def check_installed(name: str, value: str, module: str, extra: str) -> None:
    """Raise EnvError if the variable called name has a value, but the packages that it needs are missing."""
    try:
        is_missing = bool(value) and find_spec(module) is None
    except ModuleNotFoundError:  # the package around it is missing
        is_missing = True
    if is_missing:
        raise EnvError(f'Environment variable "{name}" needs more packages: pip install -r requirements-{extra}.txt')


def check_together(**values: str) -> None:
    """Raise EnvError if only some of these variables are set."""
    missing = [name for name, value in values.items() if not value]
    if 0 < len(missing) < len(values):
        raise EnvError(f'Environment variable "{missing[0]}" not set: {", ".join(values)} only make sense together')


def check_needed(needed: str, name: str, **values: str) -> None:
    """Raise EnvError if one of values is set, but the variable called name is not."""
    if not needed and any(values.values()):
        raise EnvError(f'Environment variable "{name}" not set: {", ".join(values)} only make sense with it')
