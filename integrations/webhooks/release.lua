-- KEYS: claim. ARGV: owner. Deletes the claim if it is the owner's.
-- include: ../../farmlokal/single_flight.lua
return {unlock(KEYS[1], ARGV[1]) and 1 or 0}
