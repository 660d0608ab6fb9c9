-- One more connection to a next hop, if it may have one more from all workers together.
--
-- KEYS[1]  pressrun:connections:NAME  sorted set: who holds one → when that ends (ms); expires with the last
-- KEYS[2]  pressrun:connections-wanted:NAME  string: until when (ms) one is left to urgent mail that was refused
-- KEYS[3]  pressrun:connections-waiting:NAME  sorted set: processes that were refused one → until when (ms) they are waited for
-- ARGV:    most, holder (PROCESS:NUMBER), urgent ("1" or ""), lease in ms, wanted in ms, patience in ms,
--          time in ms (for tests; "" is this server's)
-- Answers 1 where it may be opened.

local most, holder, urgent, lease, wanted = tonumber(ARGV[1]), ARGV[2], ARGV[3] == '1', tonumber(ARGV[4]), ARGV[5]
local patience, now = tonumber(ARGV[6]), tonumber(ARGV[7])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
-- A clock that was set back: whoever is still there renews, the others must not stay for as long as it was set back.
for _, ahead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. (now + lease), '+inf')) do
  redis.call('ZADD', KEYS[1], now + lease, ahead)
end
local left = tonumber(redis.call('GET', KEYS[2]) or 0) - now
if not urgent and left > 0 and left <= tonumber(wanted) then most = most - 1 end
-- Whoever was refused one waits for it; who has a fair part of them leaves the next one to the others.
local process = string.match(holder, '^(.*):') or holder
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
local held, mine, sharers = redis.call('ZRANGE', KEYS[1], 0, -1), 0, {[process] = true}
for _, one in ipairs(held) do
  local owner = string.match(one, '^(.*):') or one
  if owner == process then mine = mine + 1 end
  sharers[owner] = true
end
local others_wait = false
for _, one in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. now, '(' .. (now + 2 * patience))) do
  if one ~= process then others_wait = true end
  sharers[one] = true
end
local n = 0
for _ in pairs(sharers) do n = n + 1 end
local fair = not others_wait or mine < math.ceil(most / n)
if #held >= most or not (fair or urgent) then
  if urgent then redis.call('SET', KEYS[2], now + wanted, 'PX', wanted) end
  -- asking for more than a fair part is no reason to be waited for
  if mine < math.ceil(most / n) then
    redis.call('ZADD', KEYS[3], now + patience, process)
    redis.call('PEXPIRE', KEYS[3], patience)
  end
  return 0
end
redis.call('ZREM', KEYS[3], process)
redis.call('ZADD', KEYS[1], now + lease, holder)
redis.call('PEXPIRE', KEYS[1], lease)
if urgent then redis.call('DEL', KEYS[2]) end
return 1
