-- Does each name store its value?
-- KEYS: the names. ARGV: a number that is not used, then a value for each name. Answers a letter each:
-- 1 yes, 0 another's, - absent, ? to be asked alone.
local stored = redis.call('MGET', unpack(KEYS))
local answers = {}
for i, key in ipairs(KEYS) do
  local value = stored[i]
  if value then
    answers[i] = value == ARGV[i + 1] and '1' or '0'
  else
    -- MGET shows nothing where there is something else than a string.
    answers[i] = redis.call('EXISTS', key) == 0 and '-' or '?'
  end
end
return table.concat(answers)
