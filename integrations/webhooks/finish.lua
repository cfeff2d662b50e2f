-- KEYS: claim. ARGV: the value that means done, milliseconds.
return {redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])}
