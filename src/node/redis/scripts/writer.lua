-- What the scripts share that take a name for a writer. Where readers are in his way he leaves a sign, which keeps new ones
-- off. KEYS: the name first, the sign last. ARGV[1]: value. The last of ARGV: the life of the sign in ms, 0: none is left; 1 if
-- he leaves it whoever is in his way.
local MARK, SIGN = '#readers', '#sign '
local sign = redis.call('GET', KEYS[#KEYS])
if sign and string.sub(sign, 1, #SIGN) ~= SIGN then
  return redis.error_reply('WRONGTYPE the key of the sign stores something else')
end

-- The name is taken: by readers, or is a sign to be renewed?
local function refused()
  if redis.call('GET', KEYS[1]) ~= MARK and ARGV[#ARGV] ~= '1' then
    return 0
  end
  local life = ARGV[#ARGV - 1]
  if life ~= '0' then
    redis.call('SET', KEYS[#KEYS], SIGN .. ARGV[1], 'PX', life)
  end
  return -1
end
