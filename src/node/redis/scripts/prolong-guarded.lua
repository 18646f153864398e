-- Lets a name live for so long from now, and never shorter than it would have: a promise may have
-- been given on the longer life. Then it reads the name, so that the server tells of the next change: what
-- a connection has read before it changed the name itself is forgotten.
local function prolong(key, expiry)
  if redis.call('PEXPIRE', key, expiry, 'GT') == 0 and redis.call('PTTL', key) < 0 then
    redis.call('PEXPIRE', key, expiry)
  end
  redis.call('GET', key)
end

