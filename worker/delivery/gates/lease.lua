-- One more connection to a next hop, if it may have one more from all workers together.
--
-- KEYS[1]  pressrun:connections:NAME  sorted set: who holds one → when that ends (ms); expires with the last
-- KEYS[2]  pressrun:connections-wanted:NAME  string: until when (ms) one is left to urgent mail that was refused
-- ARGV:    most, holder, urgent ("1" or ""), lease in ms, wanted in ms, time in ms (for tests; "" is this server's)
-- Answers 1 where it may be opened.

local most, holder, urgent, lease, wanted = tonumber(ARGV[1]), ARGV[2], ARGV[3] == '1', tonumber(ARGV[4]), ARGV[5]
local now = tonumber(ARGV[6])
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
if redis.call('ZCARD', KEYS[1]) >= most then
  if urgent then redis.call('SET', KEYS[2], now + wanted, 'PX', wanted) end
  return 0
end
redis.call('ZADD', KEYS[1], now + lease, holder)
redis.call('PEXPIRE', KEYS[1], lease)
if urgent then redis.call('DEL', KEYS[2]) end
return 1
