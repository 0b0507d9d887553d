#!/usr/bin/lua
-- LuaSocket's smtp.send, given a message as it is.
local smtp = require("socket.smtp")
local recipients = {}
for recipient in os.getenv("RECIPIENTS"):gmatch("%S+") do table.insert(recipients, "<" .. recipient .. ">") end
for number = 1, tonumber(os.getenv("TIMES")) do
  local file = assert(io.open(number .. ".eml"))
  assert(smtp.send {
    server = os.getenv("HOST"), port = tonumber(os.getenv("PORT")),
    from = "<" .. os.getenv("FROM") .. ">", rcpt = recipients,
    source = require("ltn12").source.chain(require("ltn12").source.file(file), require("mime").normalize()),
  })
end
