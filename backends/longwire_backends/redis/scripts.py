"""What Redis does in one step: Lua scripts, each with its keys and arguments.

A script is called by its digest, and sent whole only to a server that does not know it (yet, or
any more after a restart): https://redis.io/docs/latest/develop/programmability/eval-intro/
"""

from __future__ import annotations

import hashlib

# Keys of all scripts on records: the record, the index of ids, the ids' expiries.

# What follows a record's writing. Arguments: id, expiry, now.
# A few expired ids leave the index with each write, so that it does not grow for ever.
_INDEX = """
redis.call('ZADD', KEYS[2], 0, ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[2], ARGV[1])
local dead = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', ARGV[3], 'LIMIT', 0, 100)
if #dead > 0 then
    redis.call('ZREM', KEYS[2], unpack(dead))
    redis.call('ZREM', KEYS[3], unpack(dead))
end
local latest = redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')[2]
if latest then
    redis.call('EXPIREAT', KEYS[2], latest)
    redis.call('EXPIREAT', KEYS[3], latest)
end
return 1
"""

# Arguments: id, expiry, now, content.
# The record comes first, since a full server refuses only a script's first write.
_PUT = f"""
redis.call('SET', KEYS[1], ARGV[4], 'EXAT', ARGV[2])
{_INDEX}"""

# Arguments: id.
_TAKE = """
local content = redis.call('GETDEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
return content
"""

# Arguments: id, expiry, now, content, the version that the record must have.
# Only the first line of a record is looked at, which is never longer than 64 bytes.
_UPDATE = f"""
local line = redis.call('GETRANGE', KEYS[1], 0, 63)
local version, expires_at = string.match(line, '^(%x+) (%d+)\\n')
if version ~= ARGV[5] or tonumber(expires_at) <= tonumber(ARGV[3]) then
    return 0
end
redis.call('SET', KEYS[1], ARGV[4], 'EXAT', ARGV[2])
{_INDEX}"""

# Keys: the index of ids, the ids' expiries. Arguments: where to begin, how many, now.
# Returns the ids that have not expired, and the last one that was looked at if there are more.
# Lua hands over only some thousands of arguments at once, hence the portions.
_CONNECTIONS = """
local ids = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[1], '+', 'LIMIT', 0, ARGV[2] + 1)
local count = math.min(#ids, tonumber(ARGV[2]))
local alive = {}
for first = 1, count, 1000 do
    local last = math.min(first + 999, count)
    for n, expiry in ipairs(redis.call('ZMSCORE', KEYS[2], unpack(ids, first, last))) do
        if expiry and tonumber(expiry) > tonumber(ARGV[3]) then
            alive[#alive + 1] = ids[first + n - 1]
        end
    end
end
return {alive, #ids > count and ids[count]}
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

# Keys: the journal. Arguments: position, entry, expiry, now.
# Each entry begins with its expiry.
_APPEND = """
local last = redis.call('LINDEX', KEYS[1], -1)
if last and tonumber(string.match(last, '^%d+')) <= tonumber(ARGV[4]) then
    redis.call('DEL', KEYS[1])
end
if redis.call('LLEN', KEYS[1]) ~= ARGV[1] - 1 then
    return 0
end
redis.call('RPUSH', KEYS[1], ARGV[2])
redis.call('EXPIREAT', KEYS[1], ARGV[3])
return 1
"""

# Keys: the journal. Arguments: the index of the first entry.
# Returns how long each entry is, and all of them in one: long lists are slow to read.
_JOURNAL = """
local entries = redis.call('LRANGE', KEYS[1], ARGV[1], -1)
local lengths = {}
for n, entry in ipairs(entries) do
    lengths[n] = #entry
end
return {table.concat(lengths, ' '), table.concat(entries)}
"""


def _digest(source: str) -> str:
    return hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


PUT = _digest(_PUT)
TAKE = _digest(_TAKE)
UPDATE = _digest(_UPDATE)
CONNECTIONS = _digest(_CONNECTIONS)
GROUP_ADD = _digest(_GROUP_ADD)
GROUP_DISCARD = _digest(_GROUP_DISCARD)
APPEND = _digest(_APPEND)
JOURNAL = _digest(_JOURNAL)

# By digest.
SOURCES = {
    _digest(source): source
    for source in (
        _PUT,
        _TAKE,
        _UPDATE,
        _CONNECTIONS,
        _GROUP_ADD,
        _GROUP_DISCARD,
        _APPEND,
        _JOURNAL,
    )
}
