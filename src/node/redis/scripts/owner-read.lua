-- Does he read, or is he the writer?
-- KEYS: the name, its readers. ARGV: value. Answers 1 yes, 0 another has it, -1 no.
local stored = redis.call('GET', KEYS[1])
if stored == ARGV[1] then
  return 1
elseif stored ~= MARK then
  return stored and 0 or -1
end
local ends = redis.call('ZSCORE', KEYS[2], ARGV[1])
return ends and tonumber(ends) > now() and 1 or -1
