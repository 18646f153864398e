-- Lets a reader out, or a writer who was to become one.
-- KEYS: the name, its readers. ARGV: value. Answers 1 released, 0 another's, -1 absent.
local stored = redis.call('GET', KEYS[1])
if stored == ARGV[1] then
  redis.call('DEL', KEYS[1])
  return 1
elseif stored ~= MARK then
  return stored and 0 or -1
end
local ends, time = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1])), now()
if not ends then
  return -1
end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', time)
local last = last_end()
if not last then
  redis.call('DEL', KEYS[1])
elseif last < ends then
  live_until(last)
end
return ends > time and 1 or -1
