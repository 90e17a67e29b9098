-- Writes an entry of a shared store: a hash of its value (v) and its version (n).
--
-- KEYS     the entry
-- ARGV     what to do: 'set', 'swap' or 'add'; the value, or the number to add; its lifetime in milliseconds;
--          for a swap the version that it must have, or '' if it must not exist
-- Returns  the new version, or the sum; for a swap with another version false, or that version and its value
--
-- A version is the time in microseconds, or one more than the last one: it also grows if the entry had expired
-- meanwhile.

local key = KEYS[1]
local found = redis.call('HGET', key, 'n')
if ARGV[1] == 'swap' and (found or '') ~= ARGV[4] then
  if not found then return false end
  return { found, redis.call('HGET', key, 'v') }
end

local sum
if ARGV[1] == 'add' then sum = redis.call('HINCRBY', key, 'v', ARGV[2]) end
local time = redis.call('TIME')
local version = tonumber(time[1]) * 1000000 + tonumber(time[2])
if found then version = math.max(version, tonumber(found) + 1) end
local written = string.format('%.0f', version)
if ARGV[1] == 'add' then
  redis.call('HSET', key, 'n', written)
  if not found then redis.call('PEXPIRE', key, ARGV[3]) end
  return redis.call('HGET', key, 'v')
end
redis.call('HSET', key, 'v', ARGV[2], 'n', written)
redis.call('PEXPIRE', key, ARGV[3])
return written
