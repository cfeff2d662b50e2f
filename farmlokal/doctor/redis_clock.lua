-- include: ../redis/clock.lua
-- Returns Redis's time in microseconds since 1970, as text.
return string.format('%.0f', now)
