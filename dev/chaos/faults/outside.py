"""The partner, the token provider or its keys are away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from dev.chaos.faults import harm
from dev.chaos.world import World
from integrations.sandbox.server import SigningKey


@contextmanager
def names_dead(world: World) -> Iterator[None]:
    """The partner's name does not resolve, and its connections are lost."""
    world.dead_names.touch()
    with harm.behaving(world.partner_proxy, "refuse"):
        pass
    try:
        yield
    finally:
        world.dead_names.unlink()


def partner_dead(world: World) -> AbstractContextManager[None]:
    return harm.behaving(world.partner_proxy, "refuse")


def partner_unreachable(world: World) -> AbstractContextManager[None]:
    return harm.behaving(world.partner_proxy, "blackhole")


def provider_dead(world: World) -> AbstractContextManager[None]:
    return harm.behaving(world.provider_proxy, "refuse")


@contextmanager
def provider_dead_token_revoked(world: World) -> Iterator[None]:
    with provider_dead(world):
        world.sandbox.provider.key = SigningKey()
        yield


def keys_dead(world: World) -> AbstractContextManager[None]:
    return harm.behaving(world.keys_proxy, "refuse")
