-- What the scripts of readers share. The name stores a mark while there are readers, who stand in a sorted set by the
-- time until which each reads. KEYS: the name, its readers. ARGV[1]: the value of a reader.
local MARK = '#readers'

-- In milliseconds since 1970, as the server's clock shows it.
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Until when the last of them reads, if there is any.
local function last_end()
  return tonumber(redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2])
end

-- The mark and the set outlive each of the readers, and nothing outlives them all.
local function live_until(time)
  time = string.format('%.0f', time)
  redis.call('PEXPIREAT', KEYS[1], time)
  redis.call('PEXPIREAT', KEYS[2], time)
end

-- One reads from now on, for so long. Those who read no more are forgotten: all, where the name does not store the mark.
-- Whatever else the key of the readers is stops this with an error, before anything is stored.
local function enter(stored, time, life)
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', stored == MARK and time or '+inf')
  local last, ends = last_end(), time + life
  redis.call('ZADD', KEYS[2], ends, ARGV[1])
  if stored ~= MARK then
    redis.call('SET', KEYS[1], MARK, 'PX', life)
  end
  if not last or ends >= last then
    live_until(ends)
  end
  return 1
end
