-- Takes each of many names as a lock of its own.
-- KEYS: the names. ARGV: expiry in ms, then a value for each name. Answers a letter each: 1 acquired,
-- 0 taken, ? to be asked alone, for nothing was done.
local letters = {}
for i, key in ipairs(KEYS) do
  local set = redis.pcall('SET', key, ARGV[i + 1], 'NX', 'PX', ARGV[1])
  letters[i] = not set and '0' or set.ok and '1' or '?'
end
return table.concat(letters)
