"""Workers of the tests share a Redis, but no keys."""

from __future__ import annotations

from django.conf import settings

from dev.testing.redis_keys import forget_keys, own_keys, shared_redis


def test_worker_forgets_the_keys_of_all_its_hash_tags_only() -> None:
    prefix = settings.REDIS_KEY_PREFIX
    own, spread, other = f"{{{prefix}}}:key", f"{{{prefix}.2}}:key", f"{{{prefix}0}}:key"
    forget_keys()
    with shared_redis() as client:
        for name in (own, spread, other):
            client.set(name, "value", ex=60)
        assert sorted(own_keys(client)) == sorted([own.encode(), spread.encode()])
        forget_keys()
        assert own_keys(client) == []
        assert client.delete(other) == 1
