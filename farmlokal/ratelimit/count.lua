-- Counts the calls of one client. KEYS: bucket. ARGV: quota, interval, calls. Returns what limit() returns.
-- include: ../redis/clock.lua
-- include: gcra.lua
return {limit(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]))}
