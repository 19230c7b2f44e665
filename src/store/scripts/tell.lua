-- Tells every instance something, in order with everything else that is told. Gives how many were told.
-- KEYS: the count of messages. ARGV: the channel, what to tell.
local n = redis.call('INCR', KEYS[1])
return redis.call('PUBLISH', ARGV[1], string.format('%.0f', n) .. ' ' .. ARGV[2])
