-- Takes names as one lock for a holder with a fencing token, if that may be granted: see token.lua.
-- KEYS: the names, then the keys of their last tokens. ARGV: value, expiry in ms, token (us since 1970).
-- Answers 1 acquired, 0 taken; n > 1: a token greater than n might be granted, n < -1: one up to -n.
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
