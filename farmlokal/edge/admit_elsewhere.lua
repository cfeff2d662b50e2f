-- All that the requests of one batch ask of the keys with another hash tag.
-- KEYS: those of admit(). ARGV: the generation that the caller believes to be the current one, or '' if no page is
-- valid; then those of admit(). Returns {that generation, then what admit() returns}.
-- include: admit.lua
return {ARGV[1], admit(ARGV[1] ~= '' and ARGV[1] or nil, 0)}
