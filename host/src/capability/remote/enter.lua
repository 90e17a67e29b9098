-- Takes, or renews, one of a limited number of places under a key. Places that were not renewed in time are free again.
--
-- KEYS     the places
-- ARGV     the name of this place, the limit (negative: it is held already), its lifetime in milliseconds
-- Returns  whether it is taken, and how many are

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local limit, lease = tonumber(ARGV[2]), tonumber(ARGV[3])

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
local taken = redis.call('ZCARD', KEYS[1])
if limit >= 0 and taken >= limit then return { 0, taken } end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + lease), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return { 1, redis.call('ZCARD', KEYS[1]) }
