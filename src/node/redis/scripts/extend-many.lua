-- Lets each name that stores its value live for `expiry` from now, and never shorter than it would
-- have.
-- KEYS: the names. ARGV: expiry in ms, then a value for each name. Answers a letter each:
-- 1 extended, 0 another's, - absent, ? to be asked alone.
local stored = redis.call('MGET', unpack(KEYS))
local answers = {}
for i, key in ipairs(KEYS) do
  local value = stored[i]
  if value == ARGV[i + 1] then
    prolong(key, ARGV[1])
    answers[i] = '1'
  elseif value then
    answers[i] = '0'
  else
    -- MGET shows nothing where there is something else than a string.
    answers[i] = redis.call('EXISTS', key) == 0 and '-' or '?'
  end
end
look('MGET', KEYS)
return table.concat(answers)
