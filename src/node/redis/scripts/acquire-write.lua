-- Takes a name for a writer.
-- KEYS: the name, the sign. ARGV: value, expiry in ms, life of the sign in ms, 1 to leave it whoever is in the way.
-- Answers 1 acquired, 0 taken, -1 taken by readers, or by anybody and the sign is renewed.
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return 1
end
return refused()
