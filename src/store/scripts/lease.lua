-- Before a load: the tokens of its tags, made where there is none, and the right to load, for one of all instances.
-- Who looked before somebody else kept an answer is sent back to look again, and loads nothing.
-- In the while after a new epoch every tag counts as pending.
-- KEYS: the lease, the while, the value, tags. ARGV: who asks, the lease's life in ms, the tokens' life in ms, how the value began that was seen,
-- a token each tag. Gives 'L' (look again); or 1 or 0, then the tokens.
if redis.call('GETRANGE', KEYS[3], 0, #ARGV[4] > 0 and #ARGV[4] - 1 or 0) ~= ARGV[4] then
  return { 'L' }
end
local got = redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
local reply = { got and '1' or '0' }
local quiet = redis.call('EXISTS', KEYS[2]) == 1
for i = 4, #KEYS do
  local value = redis.call('GET', KEYS[i])
  if not value then
    value = ARGV[i + 1]
    redis.call('SET', KEYS[i], value, 'PX', ARGV[3])
  end
  reply[i - 2] = quiet and 'P' or value
end
return reply
