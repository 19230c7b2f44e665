-- After a load: keeps it if every tag still has the token that it had before the load, and gives the lease back.
-- KEYS: the value, the lease, tags. ARGV: the value's bytes (empty: not to be kept), its life in ms, who loaded, a token each tag.
if redis.call('GET', KEYS[2]) == ARGV[3] then
  redis.call('DEL', KEYS[2])
end
if ARGV[1] == '' then
  return 0
end
for i = 3, #KEYS do
  if redis.call('GET', KEYS[i]) ~= ARGV[i + 1] then
    return 0
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
