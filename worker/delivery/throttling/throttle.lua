-- Rate limits for all processes together. One call, one decision; `memory.py` has the same rules in Python.
--
-- Keys, three for each limit NAME, in the order of the limits:
--   pressrun:rate:NAME     hash, expires two windows after its last use:
--       used, window    tokens in the log; its length
--       long, fast, urgent    when each pace's bucket was empty; a time to come is a debt
--       reserved, reserved_until    room kept for urgent mail that waits
--   pressrun:granted:NAME  list, the log, oldest first: "first last tokens"; expires with the hash
--   pressrun:closed:NAME   string: why the limit is closed; its expiry is when it opens (set by `pause`)
-- All times are microseconds of this server's TIME.
--
-- ARGV: op ("take" or "give_back"), tokens, urgent ("1" or ""), time, hold (µs room is kept),
--       then ten numbers a limit: count, window, interval, fast_interval, batch, least, long_reach, fast_reach,
--       urgent_count, urgent_interval (`Budget`); count 0: no rate, it can only be closed.
-- `time`: give_back says when the grant was; take says nothing, but in tests, and this server's clock counts.
-- take answers {tokens, wait in µs, index from 1 of the limit that has none, the time of the grant}.

local LOG_ENTRIES, TINY, LEAST_WAIT = 200, 1e-9, 1000
local op, wanted, urgent, now, hold = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1', tonumber(ARGV[4]), tonumber(ARGV[5])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function parse(entry)
  local first, last, tokens = string.match(entry, '^(%d+) (%d+) (%d+)$')
  return tonumber(first), tonumber(last), tonumber(tokens)
end

local function write(first, last, tokens)
  return string.format('%.0f %.0f %d', first, last, tokens)
end

local function exact(number)
  return string.format('%.17g', number)
end

local function load(i)
  local a, k = 5 + (i - 1) * 10, (i - 1) * 3
  local l = {
    index = i, hash = KEYS[k + 1], log = KEYS[k + 2],
    count = tonumber(ARGV[a + 1]), window = tonumber(ARGV[a + 2]), interval = tonumber(ARGV[a + 3]),
    fast_interval = tonumber(ARGV[a + 4]), batch = tonumber(ARGV[a + 5]), least = tonumber(ARGV[a + 6]),
    long_reach = tonumber(ARGV[a + 7]), fast_reach = tonumber(ARGV[a + 8]),
    urgent_count = tonumber(ARGV[a + 9]), urgent_interval = tonumber(ARGV[a + 10]),
  }
  local f = redis.call('HMGET', l.hash, 'used', 'long', 'fast', 'urgent', 'reserved', 'reserved_until')
  l.used, l.reserved, l.reserved_until = tonumber(f[1] or 0), tonumber(f[5] or 0), tonumber(f[6] or 0)
  l.long, l.fast, l.urgent = tonumber(f[2] or -1e18), tonumber(f[3] or -1e18), tonumber(f[4] or -1e18)
  -- the log's key can only be missing where somebody deleted it
  if l.used > 0 and redis.call('EXISTS', l.log) == 0 then l.used = 0 end
  return l
end

local function save(l)
  redis.call('HSET', l.hash, 'window', l.window, 'used', l.used, 'long', exact(l.long), 'fast', exact(l.fast),
    'urgent', exact(l.urgent), 'reserved', l.reserved, 'reserved_until', exact(l.reserved_until))
  local ttl = math.ceil((2 * l.window + hold) / 1000) + 1000
  redis.call('PEXPIRE', l.hash, ttl)
  redis.call('PEXPIRE', l.log, ttl)
end

-- A clock that was set back must not close the limit until it catches up: move the log along.
local function step_back(l)
  local tail = redis.call('LINDEX', l.log, -1)
  if not tail then return end
  local _, newest = parse(tail)
  local ahead = newest - now
  if ahead <= 0 then return end
  for at, entry in ipairs(redis.call('LRANGE', l.log, 0, -1)) do
    local first, last, tokens = parse(entry)
    redis.call('LSET', l.log, at - 1, write(first - ahead, last - ahead, tokens))
  end
  l.long, l.fast, l.urgent = l.long - ahead, l.fast - ahead, l.urgent - ahead
  l.reserved_until = l.reserved_until - ahead
end

-- Forget what has left the window, and what the buckets cannot hold.
local function advance(l)
  step_back(l)
  local head = redis.call('LINDEX', l.log, 0)
  while head do
    local _, last, tokens = parse(head)
    if last + l.window > now then break end
    l.used = l.used - tokens
    redis.call('LPOP', l.log)
    head = redis.call('LINDEX', l.log, 0)
  end
  l.long = math.max(l.long, now - l.long_reach)
  l.fast = math.max(l.fast, now - l.fast_reach)
  l.urgent = math.max(l.urgent, now - l.urgent_count * l.urgent_interval)
  if l.reserved_until <= now then l.reserved = 0 end
end

local function urgent_tokens(l)
  return math.floor((now - l.urgent) / l.urgent_interval + TINY)
end

local function available(l)
  local paced = math.min((now - l.long) / l.interval, (now - l.fast) / l.fast_interval)
  local tokens = math.floor(paced + TINY)
  if urgent then return math.min(l.count - l.used, math.max(tokens, urgent_tokens(l))) end
  return math.min(l.count - l.used - l.reserved, tokens)
end

-- When `need` tokens may be there, if nobody else takes them.
local function ready_at(l, need)
  local at = math.max(l.long + need * l.interval, l.fast + need * l.fast_interval)
  if urgent then at = math.min(at, l.urgent + need * l.urgent_interval) end
  local room = l.count - l.used - (urgent and 0 or l.reserved)
  local position = 0
  while room < need do
    local entry = redis.call('LINDEX', l.log, position)
    if not entry then return math.max(at, l.reserved_until) end
    local _, last, tokens = parse(entry)
    room, at, position = room + tokens, math.max(at, last + l.window), position + 1
  end
  return at
end

local function charge(l, tokens)
  if urgent then
    local own = math.min(tokens, math.max(0, urgent_tokens(l)))
    l.urgent = l.urgent + own * l.urgent_interval
    l.reserved = math.max(0, l.reserved - tokens)
  end
  l.used = l.used + tokens
  l.long = l.long + tokens * l.interval
  l.fast = l.fast + tokens * l.fast_interval
  local tail = redis.call('LINDEX', l.log, -1)
  if tail then
    local first, _, before = parse(tail)
    if now - first < l.window / LOG_ENTRIES then
      redis.call('LSET', l.log, -1, write(first, now, before + tokens))
      return
    end
  end
  redis.call('RPUSH', l.log, write(now, now, tokens))
end

-- Strike from the oldest entries: they leave the window first, so the log never counts too little. None granted
-- later is struck: tokens that come back after their window have left the log already.
local function refund(l, tokens)
  l.long = l.long - tokens * l.interval
  l.fast = l.fast - tokens * l.fast_interval
  while tokens > 0 do
    local head = redis.call('LINDEX', l.log, 0)
    if not head then return end
    local first, last, there = parse(head)
    if first > now then return end
    local struck = math.min(tokens, there)
    tokens, l.used = tokens - struck, l.used - struck
    if there > struck then
      redis.call('LSET', l.log, 0, write(first, last, there - struck))
    else
      redis.call('LPOP', l.log)
    end
  end
end

local limits, closed_for, closed_index = {}, -1, 0
for i = 1, #KEYS / 3 do
  -- below 0: there is no such key; 0: less than a millisecond is left
  local left = op == 'take' and redis.call('PTTL', KEYS[i * 3]) or -1
  if left > closed_for then closed_for, closed_index = left, i end
  if ARGV[5 + (i - 1) * 10 + 1] ~= '0' then limits[#limits + 1] = load(i) end
end

if op == 'give_back' then
  for _, l in ipairs(limits) do
    if redis.call('EXISTS', l.hash) == 1 then
      refund(l, wanted)
      save(l)
    end
  end
  return {}
end
if closed_for >= 0 then return {0, math.max(LEAST_WAIT, closed_for * 1000), closed_index, now} end

local tokens, need, within_share = wanted, wanted, urgent
for _, l in ipairs(limits) do
  advance(l)
  tokens = math.min(tokens, l.batch, available(l))
  need = math.min(need, l.least)
  within_share = within_share and urgent_tokens(l) > 0
end
-- beyond its share, single tokens would leave the others no batch
if within_share then need = 1 end

if tokens >= need then
  for _, l in ipairs(limits) do
    charge(l, tokens)
    save(l)
  end
  return {tokens, 0, 0, now}
end

-- Room is kept at the limit with the longest wait only, or a slow destination would take from all others.
local ready, blocking = -math.huge, nil
for _, l in ipairs(limits) do
  local at = ready_at(l, need)
  if at > ready then ready, blocking = at, l end
end
local entitled = urgent and urgent_tokens(blocking) or 0
if entitled > 0 then
  blocking.reserved = math.min(wanted, entitled)
  blocking.reserved_until = ready + hold
end
for _, l in ipairs(limits) do save(l) end
return {0, math.max(LEAST_WAIT, math.ceil(ready - now)), blocking.index, now}
