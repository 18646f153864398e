-- How long does that live which is in a reader's way? As PTTL says it: -2 nothing is, -1 for ever.
-- KEYS: the name, the sign of a writer who waits.
local stored = redis.pcall('GET', KEYS[1])
local sign = redis.call('PTTL', KEYS[2])
if not stored or stored == '#readers' then
  return sign
end
local name = redis.call('PTTL', KEYS[1])
return (name == -1 or sign == -1) and -1 or math.max(name, sign)
