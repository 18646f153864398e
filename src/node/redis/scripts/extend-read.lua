-- Lets a reader read for `expiry` from now, and never shorter than he would have. A writer whose value the name stores
-- becomes a reader: at no time is he neither. Where he has left a sign, he takes it back: he does not wait any more.
-- KEYS: the name, its readers, the sign. ARGV: value, expiry in ms, 1 to let him in again who has vanished.
-- Answers 1 extended, 0 another's, -1 absent.
local stored, time, life = redis.call('GET', KEYS[1]), now(), tonumber(ARGV[2])
local ends = tonumber(stored == MARK and redis.call('ZSCORE', KEYS[2], ARGV[1]) or 0)
if ends <= time and redis.pcall('GET', KEYS[3]) == '#sign ' .. ARGV[1] then
  redis.call('DEL', KEYS[3])
end
if stored == ARGV[1] then
  return enter(stored, time, math.max(life, redis.call('PTTL', KEYS[1])))
elseif stored and stored ~= MARK then
  return 0
end
if ends <= time and ARGV[3] ~= '1' then
  return -1
end
return enter(stored, time, math.max(life, ends - time))
