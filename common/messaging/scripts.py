"""What a mailbox does in one step at the server."""

from __future__ import annotations

from common.messaging.redis import Script

# How many entries nobody has read yet. Acknowledged entries are deleted, so these are all but the pending ones.
# Without a group there is nothing to help with.
UNREAD = Script[int](
    """
local pending = redis.pcall('XPENDING', stream, group)
if pending.err then return 0 end
return redis.call('XLEN', stream) - pending[1]
""",
    keys="stream",
    args="group",
)
# A consumer is removed only in the same step in which it is seen to have nothing pending: DELCONSUMER
# drops pending entries (https://redis.io/docs/latest/commands/xgroup-delconsumer/).
REMOVE_IDLE = Script[int](
    """
local removed = 0
for _, fields in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local consumer = {}
  for i = 1, #fields, 2 do consumer[fields[i]] = fields[i + 1] end
  if consumer['pending'] == 0 and consumer['idle'] > tonumber(idle_ms) and consumer['name'] ~= this_one then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer['name'])
    removed = removed + 1
  end
end
return removed
""",
    keys="stream",
    args="group idle_ms this_one",
)
# Both act only if the entry still exists. A slow consumer may find that another has finished or dead-lettered it:
# that is not a failure, and no dead letter a second time.
COUNT_FAILURE = Script[int](
    """
if #redis.call('XRANGE', stream, id, id) == 0 then return 0 end
redis.call('PEXPIRE', attempts, ttl_ms)
return redis.call('HINCRBY', attempts, id, 1)
""",
    keys="stream attempts",
    args="id ttl_ms",
)
# What cannot be added is not deleted either: a script is not undone.
MOVE = Script[int](
    """
if #redis.call('XRANGE', stream, id, id) == 0 then return 0 end
redis.call('XADD', destination, '*', unpack(fields))
redis.call('XDEL', stream, id)
redis.call('XACK', stream, group, id)
redis.call('HDEL', attempts, id)
return 1
""",
    keys="stream attempts destination",
    args="id group *fields",
)
