-- Which keys may be locks? One step of a walk over all keys, for people who look.
-- ARGV: the cursor, a pattern, how many keys to look at, how many bytes in front of each key are not told.
-- Answers the next cursor (0: the walk is over), a line break and the keys as JSON.
local MAX_PAGE, MAX_KEY, MAX_VALUE = 49152, 4096, 16384

-- The first refusal of a command, which is told; that of a key is not, for it is somebody else's.
local refusal

local function ask(...)
  local reply = redis.pcall(...)
  local message = type(reply) == 'table' and reply.err
  if message and (string.find(message, "can't run ", 1, true) or string.find(message, ' to run ', 1, true)) then
    refusal = refusal or reply
  end
  return reply
end

-- The last fencing token of a name, or the sign of a writer who waits.
local function is_side_key(key)
  local ending = string.match(key, ':(%l+)$')
  if ending ~= 'fence' and ending ~= 'sign' then return false end
  local value = ask('GETRANGE', key, 0, 16)
  if type(value) ~= 'string' then return true end
  return string.find(value, ending == 'fence' and '^%d+$' or '^#sign ') ~= nil
end

-- A string that expires, and is no longer than an ownership value. Of a key of another type or of somebody else
-- there is an error, which is a table.
local function may_be_lock(key)
  if #key > MAX_KEY then return false end
  local left = ask('PTTL', key)
  if type(left) ~= 'number' or left < 1 then return false end
  local length = ask('STRLEN', key)
  return type(length) == 'number' and length > 0 and length <= MAX_VALUE and not is_side_key(key)
end

local count = tonumber(ARGV[3])
while count >= 1 do
  local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', count)
  local keys, size = {}, 0
  for _, key in ipairs(page[2]) do
    if may_be_lock(key) then
      keys[#keys + 1] = string.sub(key, ARGV[4] + 1)
      size = size + #key
      if size > MAX_PAGE then break end
    end
  end
  if refusal then return refusal end
  if size <= MAX_PAGE then
    local json = #keys == 0 and '[]' or cjson.encode(keys)
    if #json <= MAX_PAGE then return page[1] .. '\n' .. json end
  end
  count = math.floor(count / 8)
end
return redis.error_reply('ERR too many long keys in one place')
