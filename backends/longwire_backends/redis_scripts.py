"""What Redis does in one step: Lua scripts, each with its keys and arguments.

A script is called by its digest, and sent whole only to a server that does not know it (yet, or
any more after a restart): https://redis.io/docs/latest/develop/programmability/eval-intro/
"""

from __future__ import annotations

import hashlib

# Keys: the record. Arguments: the version it must have, now, the new expiry, the new content.
# Only the first line of a record is looked at, which is never longer than 64 bytes.
_UPDATE = """
local line = redis.call('GETRANGE', KEYS[1], 0, 63)
local version, expires_at = string.match(line, '^(%x+) (%d+)\\n')
if version ~= ARGV[1] or tonumber(expires_at) <= tonumber(ARGV[2]) then
    return 0
end
redis.call('SET', KEYS[1], ARGV[4], 'EXAT', ARGV[3])
return 1
"""

# Keys: the group, its expiries, the connection's groups.
# Arguments: connection id, group name, expiry, now.
# Adding comes first, since a full server refuses only a script's first write. Then a few expired
# members leave with each one that comes, so that no group grows for ever.
_GROUP_ADD = """
redis.call('ZADD', KEYS[1], 0, ARGV[1])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[2])
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[4], 'LIMIT', 0, 100)) do
    redis.call('ZREM', KEYS[1], dead)
    redis.call('ZREM', KEYS[2], dead)
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ARGV[4])
for key, scores in pairs({[KEYS[1]] = KEYS[2], [KEYS[2]] = KEYS[2], [KEYS[3]] = KEYS[3]}) do
    local latest = redis.call('ZRANGE', scores, -1, -1, 'WITHSCORES')[2]
    if latest then
        redis.call('EXPIREAT', key, latest)
    end
end
"""

# Keys: the group, its expiries, the connection's groups. Arguments: connection id, group name.
_GROUP_DISCARD = """
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[2])
"""


def _digest(source: str) -> str:
    return hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


UPDATE = _digest(_UPDATE)
GROUP_ADD = _digest(_GROUP_ADD)
GROUP_DISCARD = _digest(_GROUP_DISCARD)

SOURCES = {_digest(source): source for source in (_UPDATE, _GROUP_ADD, _GROUP_DISCARD)}
"""The source of each script by its digest."""
