-- Lets the lock live for `expiry` from now, and never shorter than it would have.
-- KEYS: the names. ARGV: value, expiry in ms, 1 to store the value again where a name has vanished.
-- Answers 1 extended, 0 another's, -1 absent.
local absent = false
for _, key in ipairs(KEYS) do
  local value = redis.call('GET', key)
  if not value then
    absent = true
  elseif value ~= ARGV[1] then
    return 0
  end
end
if absent and ARGV[3] ~= '1' then
  return -1
end
for _, key in ipairs(KEYS) do
  local created = absent and redis.call('SET', key, ARGV[1], 'PX', ARGV[2], 'NX')
  if not created then
    prolong(key, ARGV[2])
  end
end
look(#KEYS == 1 and 'GET' or 'EXISTS', KEYS)
return 1
