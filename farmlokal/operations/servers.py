"""A few cheap numbers of MySQL and Redis."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import connection
from redis import RedisError

from farmlokal.redis.client import Outages, ask_all
from farmlokal.redis.info import INFO, parse

MYSQL_STATUS = ("Threads_connected", "Threads_running", "Max_used_connections", "Uptime")


def mysql_numbers() -> Mapping[str, str]:
    """Two statements."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT VERSION(), @@max_connections")
        version, most = cursor.fetchone()
        cursor.execute("SHOW GLOBAL STATUS WHERE Variable_name IN %s", [MYSQL_STATUS])
        status = dict(cursor.fetchall())
    return {
        "Version": version,
        "Connections": f"{status['Threads_connected']} of {most}, at most {status['Max_used_connections']} so far",
        "Running statements": status["Threads_running"],
        "Up for": duration(int(status["Uptime"])),
    }


def redis_numbers() -> Mapping[str, str]:
    """Empty without Redis, or without the right to ask for them. A missing number is left out.

    With several servers, their different values stand side by side.
    """
    if Outages.is_away:
        return {}
    try:
        servers = [_numbers_of(parse(answer)) for answer in ask_all(INFO) if answer[0]]
    except RedisError as error:
        Outages.note(error)
        return {}
    names = dict.fromkeys(name for numbers in servers for name in numbers)
    return {name: "; ".join(dict.fromkeys(numbers[name] for numbers in servers if name in numbers)) for name in names}


def _numbers_of(info: Mapping[str, str]) -> Mapping[str, str]:
    most = info.get("maxmemory_human", "0B")
    numbers = {
        "Version": info.get("valkey_version") or info.get("redis_version"),
        "Memory": f"{info.get('used_memory_human')} of {'any' if most == '0B' else most}",
        "Connections": info.get("connected_clients"),
        "Evicted keys": info.get("evicted_keys"),
        "Up for": duration(int(info.get("uptime_in_seconds", 0))),
    }
    return {name: number for name, number in numbers.items() if number}


def duration(seconds: float) -> str:
    """Such as "3 days 4 h", "4 h 5 min" or "2.5 s"."""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days:.0f} day{'s' if days > 1 else ''} {hours % 24:.0f} h"
    if hours:
        return f"{hours:.0f} h {minutes % 60:.0f} min"
    return f"{minutes:.0f} min" if minutes else f"{round(seconds, 1):g} s"
