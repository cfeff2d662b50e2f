-- Returns {text of INFO}. An account without the right to ask gets ''.
local text = ''
for _, section in ipairs({'server', 'clients', 'memory', 'stats'}) do
  local reply = redis.pcall('INFO', section)
  if type(reply) == 'string' then text = text .. reply .. '\n' end
end
return {text}
