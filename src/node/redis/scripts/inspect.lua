-- What is stored under the name, for people who look.
-- KEYS: the name. Answers the milliseconds that are left (-1: for ever), a space and the value; nil if absent.
local value = redis.call('GET', KEYS[1])
if not value then return nil end
-- Lua itself would write many milliseconds as 9.007e+14.
return string.format('%.0f ', redis.call('PTTL', KEYS[1])) .. string.sub(value, 1, 16384)
