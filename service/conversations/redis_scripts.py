"""What Redis does for a store at once, in Lua."""

from __future__ import annotations

# KEYS: conversation, touched. ARGV: id, version, exchange, now, oldest, capacity, kept, seconds to live, what the
# keys of conversations begin with, and the place of the last exchange that stays.
# An exchange that is there already came with an earlier try of the same call, whose answer was lost on the way.
APPEND = """
local touched = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not touched or tonumber(touched) < tonumber(ARGV[5]) then
    redis.call('DEL', KEYS[1])
end
local last = redis.call('LINDEX', KEYS[1], -1)
if last == ARGV[3] then return 'stored' end
local version = last and cjson.decode(last).number or 0
if version ~= tonumber(ARGV[2]) then
    return version == 0 and 'gone' or 'changed'
end
redis.call('LTRIM', KEYS[1], 0, ARGV[10])
redis.call('RPUSH', KEYS[1], ARGV[3])
redis.call('LTRIM', KEYS[1], -tonumber(ARGV[7]), -1)
redis.call('EXPIRE', KEYS[1], ARGV[8])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
local excess = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[6])
local stale = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[5], 'LIMIT', 0, 100)
if excess > 0 then
    for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, math.min(excess, 100) - 1)) do table.insert(stale, id) end
end
for _, id in ipairs(stale) do
    redis.call('DEL', ARGV[9] .. id)
    redis.call('ZREM', KEYS[2], id)
end
return 'stored'
"""

# KEYS: conversation, touched. ARGV: id, before how many of those kept (negative for all), most exchanges, most bytes.
READ = """
local touched = redis.call('ZSCORE', KEYS[2], ARGV[1])
local last = redis.call('LINDEX', KEYS[1], -1)
if not touched or not last then return {} end
local stop = redis.call('LLEN', KEYS[1])
if tonumber(ARGV[2]) >= 0 then stop = math.min(stop, tonumber(ARGV[2])) end
local page, size = {}, 0
for index = stop - 1, math.max(0, stop - tonumber(ARGV[3])), -1 do
    local record = redis.call('LINDEX', KEYS[1], index)
    local said = cjson.decode(record).exchange
    size = size + #said.message + #said.reply
    if #page > 0 and size > tonumber(ARGV[4]) then break end
    table.insert(page, record)
end
return {touched, cjson.decode(last).number, stop - #page, page}
"""

# KEYS: conversation, touched. ARGV: id, key, and the key as it stands in records.
FIND = """
local touched = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not touched then return {} end
for _, record in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
    if string.find(record, ARGV[3], 1, true) then
        local said = cjson.decode(record).exchange
        local keys = ' ' .. (said.replaced or '') .. ' ' .. said.key .. ' '
        if string.find(keys, ' ' .. ARGV[2] .. ' ', 1, true) then return {touched, record} end
    end
end
return {}
"""

DELETE = """
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
"""
