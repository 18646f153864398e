-- Takes names as one lock for a holder with a fencing token, which has to be greater than the last one of each.
-- KEYS: the names, then the keys of their last tokens. ARGV: value, expiry in ms, token (us since 1970).
-- Answers 1 acquired, 0 taken; n > 1: a token greater than n might be granted, n < -1: one up to -n.
-- Tokens are within an hour of this server's clock, so the last one can be forgotten after three: what may be
-- granted then is greater. A last token that is no number is an error, and nothing is granted.
local names, hour = #KEYS / 2, 3600 * 1000000
if redis.call('EXISTS', unpack(KEYS, 1, names)) > 0 then
  return 0
end
-- 1 is no bound: it would say that it was acquired.
local token, last = tonumber(ARGV[3]), 2
for i = names + 1, #KEYS do
  local stored = redis.call('GET', KEYS[i]) or '0'
  -- Lua reads more as numbers than it writes.
  if not string.find(stored, '^%d+$') then
    return redis.error_reply('ERR the last fencing token is no number')
  end
  -- No token is greater, and no reply may be.
  last = math.max(last, math.min(tonumber(stored), 2 ^ 53 - 1))
end
local now = redis.call('TIME')[1] * 1000000
if token <= now - hour then
  return math.max(last, now)
elseif token <= last then
  return last
elseif token > math.max(now + hour, last + 1) then
  return -math.max(now, last + 1)
end
for i = 1, names do
  redis.call('SET', KEYS[i], ARGV[1], 'PX', ARGV[2])
  -- As it was sent: Lua would write it as 1.79e+15.
  redis.call('SET', KEYS[names + i], ARGV[3], 'PX', 3 * 3600 * 1000)
end
return 1
