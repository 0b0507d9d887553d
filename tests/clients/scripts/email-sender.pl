#!/usr/bin/perl
# Email::Sender over a connection that is kept.
use strict;
use warnings;
use Email::Sender::Simple qw(sendmail);
use Email::Sender::Transport::SMTP::Persistent;

my $transport = Email::Sender::Transport::SMTP::Persistent->new(host => $ENV{HOST}, port => $ENV{PORT});
for my $number (1 .. $ENV{TIMES}) {
    open(my $file, '<', "$number.eml") or die $!;
    my $mail = do { local $/; <$file> };
    sendmail($mail, { from => $ENV{FROM}, to => [split ' ', $ENV{RECIPIENTS}], transport => $transport });
}
