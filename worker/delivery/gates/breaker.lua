-- Breakers for all processes together. The moves are those of `domain/breaker.py`, line by line.
--
-- KEYS[1]  pressrun:breakers  hash: NAME → JSON {failures, until, window, flying, heard, forgotten_at, why}; one
--          without failures is whole. It expires two days after its last use.
-- KEYS[2]  pressrun:breakers-looked  string: those that nobody has tried for long were looked for; expires after a minute
-- ARGV:    op, name, time, flight, look_again, remembered, then by op
--     trip   first, longest, full, asked ("" for none), why
--     admit  wanted
--     land   full, heard, other
--     keep   the JSON to remember, its times as seconds from now
-- `time`: in seconds, for tests; "" is this server's TIME.
-- Answers {JSON with its times as seconds from now, messages, wait in seconds as text}; admit of an unknown one: {}.

local op, name, now = ARGV[1], ARGV[2], tonumber(ARGV[3])
local flight, look_again, remembered = tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
local LONGEST_ASKED, TWO_DAYS = 86400, 172800

local function shifted(b, by)
  local moved = {}
  for key, value in pairs(b) do moved[key] = value end
  moved['until'] = b['until'] + by
  moved.forgotten_at = b.forgotten_at + by
  return moved
end

local function exact(b)
  -- cjson keeps 14 digits: enough for seconds since 1970 to the tenth of a millisecond
  return cjson.encode(b)
end

local function save(b)
  redis.call('HSET', KEYS[1], name, exact(b))
  redis.call('EXPIRE', KEYS[1], TWO_DAYS)
end

local function answer(b, messages, wait)
  return {exact(shifted(b, -now)), messages or 0, wait or '0'}
end

local function whole()
  return {failures = 0, ['until'] = now, window = 0, flying = 0, heard = 0, forgotten_at = 0, why = ''}
end

local function pause_after(first, longest, failures, asked)
  local base = first
  if asked then base = math.min(math.max(asked, 1), LONGEST_ASKED) end
  return math.min(math.max(longest, base), base * 2 ^ math.min(failures - 1, 30))
end

-- Those that nobody has tried for long go. Going direct there may be thousands, so not at each call.
local function is_over(b)
  return b['until'] + remembered <= now
end

if redis.call('SET', KEYS[2], '1', 'NX', 'EX', 60) then
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    if is_over(cjson.decode(all[i + 1])) then redis.call('HDEL', KEYS[1], all[i]) end
  end
end
local found = redis.call('HGET', KEYS[1], name)
local b = found and cjson.decode(found) or nil
if b and is_over(b) then b = nil end

if op == 'keep' then
  if not b then save(shifted(cjson.decode(ARGV[7]), now)) end
  return {}
end

if op == 'admit' then
  if not b then return {} end
  local wanted = tonumber(ARGV[7])
  if b.failures == 0 then return answer(b, wanted) end
  if now < b['until'] then return answer(b, 0, tostring(b['until'] - now)) end
  local flying = now >= b.forgotten_at and 0 or b.flying
  local messages = math.min(wanted, b.window - flying)
  if messages <= 0 then return answer(b, 0, look_again) end
  b.flying, b.forgotten_at = flying + messages, now + flight
  save(b)
  return answer(b, messages)
end

b = b or whole()
if op == 'trip' then
  local first, longest, asked, why = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[10]), ARGV[11]
  if b.failures > 0 and now < b['until'] then
    if asked and now + pause_after(first, longest, 1, asked) > b['until'] then
      b['until'], b.why = now + pause_after(first, longest, 1, asked), why
      save(b)
    end
    return answer(b)
  end
  local failures = b.failures + 1
  b = {failures = failures, ['until'] = now + pause_after(first, longest, failures, asked), window = 1, flying = 0,
    heard = 0, forgotten_at = 0, why = why}
  save(b)
  return answer(b)
end

-- land
local full, heard, other = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
if b.failures == 0 then return answer(b) end
b.flying = math.max(0, b.flying - heard - other)
if now >= b['until'] then
  b.heard = b.heard + heard
  while b.failures > 0 and b.heard >= b.window do
    b.heard = b.heard - b.window
    b.window = b.window + 1
    if b.window > full then b = whole() end
  end
end
save(b)
return answer(b)
