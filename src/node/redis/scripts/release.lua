-- Deletes what stores the value.
-- KEYS: the names. ARGV: value. Answers 1 released, 0 another's, -1 absent.
local answer = 1
local refusal
for _, key in ipairs(KEYS) do
  local value = redis.pcall('GET', key)
  if type(value) == 'table' then
    refusal = value -- not a string: the other names are still to be released
  elseif value == ARGV[1] then
    redis.call('DEL', key)
  elseif value then
    answer = 0
  elseif answer == 1 then
    answer = -1
  end
end
return refusal or answer
