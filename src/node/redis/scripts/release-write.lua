-- Deletes what stores the writer's value, and his sign.
-- KEYS: the name, the sign. ARGV: value. Answers 1 released, 0 another's, -1 absent.
if redis.pcall('GET', KEYS[2]) == '#sign ' .. ARGV[1] then
  redis.call('DEL', KEYS[2])
end
local stored = redis.call('GET', KEYS[1])
if stored == ARGV[1] then
  redis.call('DEL', KEYS[1])
  return 1
end
return stored and 0 or -1
