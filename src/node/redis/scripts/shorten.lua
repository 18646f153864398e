-- Lets what stores the value live for `expiry` from now, and never longer than it would have.
-- KEYS: the names. ARGV: value, expiry in ms. Answers 1 shortened, 0 another's, -1 absent.
local answer = 1
for _, key in ipairs(KEYS) do
  local value = redis.call('GET', key)
  if value == ARGV[1] then
    local left = redis.call('PTTL', key)
    -- -1: for ever.
    if left < 0 or left > tonumber(ARGV[2]) then
      redis.call('PEXPIRE', key, ARGV[2])
    end
  elseif value then
    answer = 0
  elseif answer == 1 then
    answer = -1
  end
end
return answer
