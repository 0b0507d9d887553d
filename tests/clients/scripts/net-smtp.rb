#!/usr/bin/ruby
# net/smtp, given a message as it is.
require "net/smtp"

Net::SMTP.start(ENV["HOST"], ENV["PORT"].to_i) do |smtp|
  (1..ENV["TIMES"].to_i).each do |number|
    smtp.send_message(File.binread("#{number}.eml"), ENV["FROM"], ENV["RECIPIENTS"].split)
  end
end
