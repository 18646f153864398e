-- Lets a reader in, unless a writer has the name or waits for it.
-- KEYS: the name, its readers, the sign of a writer who waits. ARGV: value, expiry in ms.
-- Answers 1 acquired, 0 taken.
local stored = redis.call('GET', KEYS[1])
if stored and stored ~= MARK or redis.call('EXISTS', KEYS[3]) == 1 then
  return 0
end
return enter(stored, now(), tonumber(ARGV[2]))
