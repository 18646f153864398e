-- Takes a name for a writer with a fencing token: see acquire-fenced.lua.
-- KEYS: the name, the key of its last token, the sign. ARGV: value, expiry in ms, token; life of the sign in ms, 1 to leave it
-- whoever is in the way. Answers 1 acquired, 0 taken, -1 as acquire-write.lua; n > 1 and n < -1 as acquire-fenced.lua.
if bound and redis.call('EXISTS', KEYS[1]) == 0 then
  return bound
elseif bound or not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return refused()
end
redis.call('SET', KEYS[2], ARGV[3], 'PX', '10800000')
return 1
