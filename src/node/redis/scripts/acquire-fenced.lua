-- Takes names as one lock for a holder with a fencing token, which has to be greater than the last one of each.
-- KEYS: the names, then the keys of their last tokens. ARGV: value, expiry in ms, token (us since 1970).
-- Answers 1 acquired, 0 taken; n > 1: a token greater than n might be granted, n < -1: one up to -n.
-- Tokens are within an hour of this server's clock, so the last one can be forgotten after three: what may be
-- granted then is greater. A last token that is no number is an error, and nothing is granted.
local names, hour = #KEYS / 2, 3600 * 1000000
local token, last = tonumber(ARGV[3]), 0
for i = names + 1, #KEYS do
  local stored = redis.call('GET', KEYS[i])
  if stored then
    -- Lua reads more as numbers than it writes.
    if not string.find(stored, '^%d+$') then
      return redis.error_reply('ERR the last fencing token is no number')
    end
    -- No token is greater, and no reply may be.
    last = math.max(last, math.min(tonumber(stored), 2 ^ 53 - 1))
  end
end
local now, bound = redis.call('TIME')[1] * 1000000, nil
if token <= now - hour then
  bound = math.max(last, now)
elseif token <= last then
  -- 1 is no bound: it would say that it was acquired.
  bound = math.max(last, 2)
elseif token > math.max(now + hour, last + 1) then
  bound = -math.max(now, last + 1)
end
-- One name needs no look: SET NX tells.
if (bound or names > 1) and redis.call('EXISTS', unpack(KEYS, 1, names)) > 0 then
  return 0
elseif bound then
  return bound
end
for i = 1, names do
  if not redis.call('SET', KEYS[i], ARGV[1], 'NX', 'PX', ARGV[2]) then
    return 0
  end
  -- As it was sent: Lua would write it as 1.79e+15.
  redis.call('SET', KEYS[names + i], ARGV[3], 'PX', '10800000')
end
return 1
