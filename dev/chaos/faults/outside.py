"""The partner, the token provider or its keys are away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import redis

from dev.chaos.faults import harm
from dev.chaos.world import World
from integrations.sandbox.server import SigningKey


@contextmanager
def names_dead(world: World) -> Iterator[None]:
    """The partner's name does not resolve, and its connections are lost."""
    world.dead_names.touch()
    _age_quotes(world)
    with harm.behaving(world.partner_proxy, "refuse"):
        pass
    try:
        yield
    finally:
        world.dead_names.unlink()


@contextmanager
def partner_dead(world: World) -> Iterator[None]:
    with harm.behaving(world.partner_proxy, "refuse"):
        _age_quotes(world)
        yield


@contextmanager
def partner_unreachable(world: World) -> Iterator[None]:
    with harm.behaving(world.partner_proxy, "blackhole"):
        _age_quotes(world)
        yield


def _age_quotes(world: World) -> None:
    """Known quotes are no longer fresh, as after 30 s."""
    with redis.Redis.from_url(world.redis.url) as client:
        for name in client.scan_iter("*:quote:*"):
            if client.type(name) == b"hash":
                client.hset(name, "made", 1)


def provider_dead(world: World) -> AbstractContextManager[None]:
    return harm.behaving(world.provider_proxy, "refuse")


@contextmanager
def provider_dead_token_revoked(world: World) -> Iterator[None]:
    with provider_dead(world):
        world.sandbox.provider.key = SigningKey()
        _age_quotes(world)
        yield


def keys_dead(world: World) -> AbstractContextManager[None]:
    return harm.behaving(world.keys_proxy, "refuse")
