#!/usr/bin/ruby
# net/smtp, given a message as it is.
require "net/smtp"

smtp = Net::SMTP.new(ENV["HOST"], ENV["PORT"].to_i)
smtp.enable_tls if ENV["TLS"] == "implicit"
smtp.start(user: ENV["LOGIN"], secret: ENV["PASSWORD"], authtype: ENV["LOGIN"] && :plain) do
  (1..ENV["TIMES"].to_i).each do |number|
    smtp.send_message(File.binread("#{number}.eml"), ENV["FROM"], ENV["RECIPIENTS"].split)
  end
end
