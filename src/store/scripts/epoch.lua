-- The epoch of this server, made anew when the server is another than the one that it was made on: restarted, or failed over.
-- For a while after that nothing is kept: a write that began before may not have ended, and its mark is lost.
-- KEYS: the epoch, the while. ARGV: the server's run id, a new epoch.
local kept = redis.call('GET', KEYS[1])
if kept and kept:sub(18) == ARGV[1] then
  return kept:sub(1, 16)
end
redis.call('SET', KEYS[1], ARGV[2] .. ' ' .. ARGV[1])
redis.call('SET', KEYS[2], '1', 'PX', 1000)
return ARGV[2]
