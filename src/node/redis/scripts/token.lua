-- May a fencing token be granted? It has to be greater than the last one of each name.
-- KEYS: the names, then the keys of their last tokens. ARGV[3]: token (us since 1970).
-- Tokens are within an hour of this server's clock, so the last one can be forgotten after three: what may be
-- granted then is greater. A last token that is no number is an error, and nothing is granted.
local names, hour = math.floor(#KEYS / 2), 3600 * 1000000
local token, last = tonumber(ARGV[3]), 0
for i = names + 1, 2 * names do
  local stored = redis.call('GET', KEYS[i])
  if stored then
    -- Lua reads more as numbers than it writes.
    if not string.find(stored, '^%d+$') then
      return redis.error_reply('WRONGTYPE the last fencing token is no number')
    end
    -- No token is greater, and no reply may be.
    last = math.max(last, math.min(tonumber(stored), 2 ^ 53 - 1))
  end
end
-- What it would have to keep to: greater than n, or, if n is negative, up to -n.
local now, bound = redis.call('TIME')[1] * 1000000, nil
if token <= now - hour then
  bound = math.max(last, now)
elseif token <= last then
  -- 1 is no bound: it would say that it was acquired.
  bound = math.max(last, 2)
elseif token > math.max(now + hour, last + 1) then
  bound = -math.max(now, last + 1)
end
