-- Takes from several limits at once, or from none of them: the rules of rate_limit.rs, on this server's clock.
--
-- KEYS     a key for each rule
-- ARGV     the cost; the most to take, which is above the cost to take some ahead, up to a quarter of what is left;
--          how many taken ahead are given back, and until when they count; then four values for each rule:
--          its kind, and three numbers: 'b' requests, per, burst; 'f' and 's' requests, length, anchor
-- Returns  the time, how many were taken, then for each rule: allowed, remaining, reset, retry after
--
-- Numbers are exact up to 2^53; windows and buckets with more request-milliseconds are slightly inexact.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local cost, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local back, counted_until = tonumber(ARGV[3]), tonumber(ARGV[4])
if now >= counted_until then back = 0 end
local NEVER = 4294967295
local SHARE = 4

local function clamp(number) return math.min(number, NEVER) end
local function up(number, by) return math.ceil(number / by) end
local function text(number) return string.format('%.0f', number) end

local bucket = {}

function bucket.load(rule, kept)
  rule.capacity = rule.burst * rule.per
  rule.level = 0
  if kept then
    local full_at, slack = string.match(kept, '^(%d+):(%d+)$')
    local until_full = math.max(0, tonumber(full_at) - now)
    rule.level = math.min(rule.capacity, math.max(0, until_full * rule.requests - tonumber(slack)))
  end
end

function bucket.room(rule)
  if rule.requests == 0 then return -1 end
  return math.floor((rule.capacity - rule.level) / rule.per)
end

function bucket.wait(rule)
  local needed, free = cost * rule.per, rule.capacity - rule.level
  if rule.requests == 0 or needed > rule.capacity then return NEVER end
  return clamp(up(needed - free, rule.requests))
end

-- Of what was taken, only what leaks until its expiry is still in the bucket. The rest has already made room.
function bucket.give(rule, number)
  local still = math.floor((counted_until - now) * rule.requests / rule.per)
  rule.level = math.max(0, rule.level - math.min(number, still) * rule.per)
end

function bucket.take(rule, taken)
  rule.level = rule.level + taken * rule.per
  local until_full = up(rule.level, rule.requests)
  local slack = until_full * rule.requests - rule.level
  return text(now + until_full) .. ':' .. text(slack), until_full
end

function bucket.told(rule)
  if rule.requests == 0 then return 0, NEVER end
  return clamp(bucket.room(rule)), clamp(up(rule.level, rule.requests))
end

-- Shared by fixed and sliding windows. The clock may be set back: the current window then continues.
local function load_window(rule, kept)
  local since = now - rule.anchor
  rule.index = math.floor(since / rule.length)
  local elapsed = since - rule.index * rule.length
  rule.used, rule.before = 0, 0
  if kept then
    local index, used, before = string.match(kept, '^(%-?%d+):(%d+):(%d+)$')
    index, used, before = tonumber(index), tonumber(used), tonumber(before)
    if index >= rule.index then
      if index > rule.index then elapsed = 0 end
      rule.index, rule.used, rule.before = index, used, before
    elseif index + 1 == rule.index then
      rule.before = used
    end
  end
  rule.left = rule.length - elapsed
end

local function give_window(rule, number)
  rule.used = math.max(0, rule.used - number)
end

local function write_window(rule)
  return text(rule.index) .. ':' .. text(rule.used) .. ':' .. text(rule.before)
end

local fixed = { load = load_window, give = give_window }

function fixed.room(rule)
  return rule.requests - rule.used
end

function fixed.wait(rule)
  if cost > rule.requests then return NEVER end
  return clamp(rule.left)
end

function fixed.take(rule, taken)
  rule.used, rule.before = rule.used + taken, 0
  return write_window(rule), rule.left
end

function fixed.told(rule)
  local reset = 0
  if rule.used > 0 then reset = clamp(rule.left) end
  return math.max(0, rule.requests - rule.used), reset
end

local sliding = { load = load_window, give = give_window }

function sliding.room(rule)
  local free = (rule.requests - rule.used) * rule.length - rule.before * rule.left
  return math.max(-1, math.floor(free / rule.length))
end

function sliding.wait(rule)
  local room = rule.requests - cost
  if room < 0 then return NEVER end
  if room >= rule.used then
    local over = math.max(0, rule.before * rule.left - (room - rule.used) * rule.length)
    return clamp(up(over, math.max(1, rule.before)))
  end
  local over = math.max(0, rule.used * rule.length - room * rule.length)
  return clamp(rule.left + up(over, math.max(1, rule.used)))
end

function sliding.take(rule, taken)
  rule.used = rule.used + taken
  return write_window(rule), rule.left + rule.length
end

function sliding.told(rule)
  local reset = 0
  if rule.used > 0 then reset = clamp(rule.left + rule.length)
  elseif rule.before > 0 then reset = clamp(rule.left) end
  return clamp(math.max(0, sliding.room(rule))), reset
end

local kinds = { b = bucket, f = fixed, s = sliding }
local rules, room = {}, math.huge
for at, key in ipairs(KEYS) do
  local first = 4 * at + 1
  local a, b, c = tonumber(ARGV[first + 1]), tonumber(ARGV[first + 2]), tonumber(ARGV[first + 3])
  local rule = { kind = kinds[ARGV[first]], requests = a, per = b, length = b, burst = c, anchor = c }
  rule.kind.load(rule, redis.call('GET', key) or nil)
  if back > 0 then rule.kind.give(rule, back) end
  rule.room = rule.kind.room(rule)
  room = math.min(room, rule.room)
  rules[at] = rule
end

local taken = 0
if room >= cost then taken = math.max(cost, math.min(most, math.floor(room / SHARE))) end
local answer = { now, taken }
for at, rule in ipairs(rules) do
  local allowed = rule.room >= cost
  local wait = 0
  if not allowed then wait = rule.kind.wait(rule) end
  if taken > 0 or back > 0 then
    local kept, life = rule.kind.take(rule, taken)
    redis.call('SET', KEYS[at], kept, 'PX', text(math.max(1, life)))
  end
  local remaining, reset = rule.kind.told(rule)
  for _, number in ipairs({ allowed and 1 or 0, remaining, reset, wait }) do
    answer[#answer + 1] = number
  end
end
return answer
