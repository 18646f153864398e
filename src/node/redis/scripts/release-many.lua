-- Deletes each name that stores its value.
-- KEYS: the names. ARGV: a number that is not used, then a value for each name. Answers a letter
-- each: 1 released, 0 another's, - absent, ? to be asked alone.
local stored = redis.call('MGET', unpack(KEYS))
local answers, ours = {}, {}
for i, key in ipairs(KEYS) do
  local value = stored[i]
  if value == ARGV[i + 1] then
    ours[#ours + 1] = key
    answers[i] = '1'
  elseif value then
    answers[i] = '0'
  else
    -- MGET shows nothing where there is something else than a string.
    answers[i] = redis.call('EXISTS', key) == 0 and '-' or '?'
  end
end
if #ours > 0 then
  redis.call('DEL', unpack(ours))
end
return table.concat(answers)
