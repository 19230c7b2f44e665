-- Each tag gets a new token, so that nothing kept under the old one is used. One that is pending for other writers stays pending.
-- KEYS: the count of messages, a mark (may be empty), tags. ARGV: the writer ('-': none), the token's life in ms, the channel, what to tell, a token each tag.
-- With a mark: done once for all who ask, as long as a row of the outbox lives. Gives how many were told.
if KEYS[2] ~= '' and not redis.call('SET', KEYS[2], '1', 'NX', 'PX', 7200000) then
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 3, #KEYS do
  local value = redis.call('GET', KEYS[i])
  local writers, last = '', now
  if value and value:sub(1, 1) == 'P' then
    for writer, limit in value:sub(2):gmatch('(%x+):(%d+),') do
      if writer ~= ARGV[1] and tonumber(limit) > now then
        writers = writers .. writer .. ':' .. limit .. ','
        last = math.max(last, tonumber(limit))
      end
    end
  end
  if writers == '' then
    redis.call('SET', KEYS[i], ARGV[i + 2], 'PX', ARGV[2])
  else
    redis.call('SET', KEYS[i], 'P' .. writers, 'PX', string.format('%.0f', last - now))
  end
end
local n = redis.call('INCR', KEYS[1])
return redis.call('PUBLISH', ARGV[3], string.format('%.0f', n) .. ' ' .. ARGV[4])
