-- Says on an instance's own channel how far the messages of all have come; what it hears after this, it has heard all before.
-- KEYS: the count of messages, the epoch. ARGV: the instance's channel, what it wants to hear back. Gives the epoch.
redis.call('PUBLISH', ARGV[1], 'H ' .. ARGV[2] .. ' ' .. (redis.call('GET', KEYS[1]) or '0'))
local epoch = redis.call('GET', KEYS[2])
return epoch and epoch:sub(1, 16) or ''
