-- Do all names store the value? (A script, so that a foreign value never crosses the network.)
-- KEYS: the names. ARGV: value. Answers 1 yes, 0 another's, -1 absent.
local answer = 1
for _, key in ipairs(KEYS) do
  local value = redis.call('GET', key)
  if not value then
    answer = answer == 0 and 0 or -1
  elseif value ~= ARGV[1] then
    answer = 0
  end
end
return answer
