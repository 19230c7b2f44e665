-- Before COMMIT: each tag becomes pending, for this writer and those already there. While a tag is pending, nothing under it is used or kept.
-- If the writer dies, the tag is gone at the limit, and what is kept under its old token with it.
-- KEYS: the count of messages, tags. ARGV: the writer, the limit in ms, the channel, what to tell.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 2, #KEYS do
  local value = redis.call('GET', KEYS[i])
  local last = now + ARGV[2]
  local writers = ARGV[1] .. ':' .. string.format('%.0f', last) .. ','
  if value and value:sub(1, 1) == 'P' then
    for writer, limit in value:sub(2):gmatch('(%x+):(%d+),') do
      if tonumber(limit) > now then
        writers = writers .. writer .. ':' .. limit .. ','
        last = math.max(last, tonumber(limit))
      end
    end
  end
  redis.call('SET', KEYS[i], 'P' .. writers, 'PX', string.format('%.0f', last - now))
end
local n = redis.call('INCR', KEYS[1])
redis.call('PUBLISH', ARGV[3], string.format('%.0f', n) .. ' ' .. ARGV[4])
return 1
