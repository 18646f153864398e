-- Lets a name live for so long from now, and never shorter than it would have: a promise may have
-- been given on the longer life. It reads as little as it can: a server may note all names of the script
-- at each read.
local function prolong(key, expiry)
  if redis.call('PEXPIRE', key, expiry, 'GT') == 0 and redis.call('PTTL', key) < 0 then
    redis.call('PEXPIRE', key, expiry)
  end
end

-- Reads the names, so that the server tells of the next change: what this connection has read before it
-- changed it itself is forgotten.
local function look(command, names)
  redis.call(command, unpack(names))
end

