-- Takes each of many names as a lock of its own for a holder with a fencing token: see token.lua.
-- KEYS: the names, then the keys of their last tokens. ARGV: expiry in ms, their values, their tokens.
-- Answers a letter for each: 1 acquired, 0 taken, ? it has to be asked about alone, and nothing was done.
local call, names, expiry = redis.pcall, #KEYS / 2, ARGV[1]
local now, hour = call('TIME')[1] * 1000000, 3600 * 1000000
local letters = {}
for i = 1, names do
  local name, fence, token = KEYS[i], KEYS[names + i], ARGV[1 + names + i]
  local number, last, letter = tonumber(token), call('GET', fence), '?'
  -- A key of another type is a table here, and Lua reads more as numbers than it writes.
  if not last then
    last = 0
  else
    last = type(last) == 'string' and string.find(last, '^%d+$') and tonumber(last)
  end
  if last and number > last and number > now - hour and number <= now + hour then
    local set = call('SET', name, ARGV[1 + i], 'NX', 'PX', expiry)
    if not set then
      letter = '0'
    elseif set.ok then
      if call('SET', fence, token, 'PX', '10800000').ok then letter = '1' else call('DEL', name) end
    end
  end
  letters[i] = letter
end
return table.concat(letters)
