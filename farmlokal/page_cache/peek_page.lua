-- Returns {page or ''}, of any generation. KEYS: page.
return {redis.call('GET', KEYS[1]) or ''}
