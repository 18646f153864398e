-- Lets a name live for so long from now, and never shorter than it would have: a promise may have
-- been given on the longer life.
local function prolong(key, expiry)
  if redis.call('PTTL', key) < tonumber(expiry) then
    redis.call('PEXPIRE', key, expiry)
  end
end

-- Reads the names where the server tells of changes: not here.
local function look() end

