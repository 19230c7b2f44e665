-- Before a load: the tokens of its tags, made where there is none, and the right to load, for one of all instances.
-- In the while after a new epoch every tag counts as pending.
-- KEYS: the lease, the while, tags. ARGV: who asks, the lease's life in ms, the tokens' life in ms, a token each tag. Gives 1 or 0, then the tokens.
local got = redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
local reply = { got and '1' or '0' }
local quiet = redis.call('EXISTS', KEYS[2]) == 1
for i = 3, #KEYS do
  local value = redis.call('GET', KEYS[i])
  if not value then
    value = ARGV[i + 1]
    redis.call('SET', KEYS[i], value, 'PX', ARGV[3])
  end
  reply[i - 1] = quiet and 'P' or value
end
return reply
