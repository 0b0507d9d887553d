#!/usr/bin/perl
# Net::SMTP, given a message as it is.
use strict;
use warnings;
use Net::SMTP;

my $smtp = Net::SMTP->new($ENV{HOST}, Port => $ENV{PORT}) or die "no connection: $@";
for my $number (1 .. $ENV{TIMES}) {
    open(my $file, '<', "$number.eml") or die $!;
    $smtp->mail($ENV{FROM}) or die $smtp->message;
    $smtp->to(split ' ', $ENV{RECIPIENTS}) or die $smtp->message;
    $smtp->data([<$file>]) or die $smtp->message;
}
$smtp->quit;
