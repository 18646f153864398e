-- Takes several names as one lock: all, or none. (One name is a plain SET NX PX.)
-- KEYS: the names. ARGV: value, expiry in ms. Answers 1 acquired, 0 taken.
if redis.call('EXISTS', unpack(KEYS)) > 0 then
  return 0
end
for _, key in ipairs(KEYS) do
  redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
end
return 1
