#!/usr/bin/ruby
# The mail gem, and so Rails, over a connection that is kept.
require "mail"

Net::SMTP.start(ENV["HOST"], ENV["PORT"].to_i) do |smtp|
  ENV["SUBJECTS"].each_line(chomp: true) do |subject|
    mail = Mail.new(charset: "UTF-8", from: %("#{ENV["NAME"]}" <#{ENV["FROM"]}>), to: ENV["TO"].split, subject: subject)
    mail.cc = ENV["CC"].split unless ENV["CC"].empty?
    mail.bcc = ENV["BCC"].split unless ENV["BCC"].empty?
    text = File.read(ENV["TEXT"])
    if ENV["ATTACHMENT"]
      mail.text_part = Mail::Part.new { content_type "text/plain; charset=UTF-8"; body text }
      mail.attachments["scan.bin"] = File.binread(ENV["ATTACHMENT"])
    else
      mail.body = text
    end
    mail.delivery_method :smtp_connection, connection: smtp
    mail.deliver!
  end
end
