"""Redis."""

from longwire_backends.redis.backend import RedisBackend

__all__ = ["RedisBackend"]
