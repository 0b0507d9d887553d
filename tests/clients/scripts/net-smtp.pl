#!/usr/bin/perl
# Net::SMTP, given a message as it is.
use strict;
use warnings;
use Net::SMTP;

my $tls = $ENV{TLS} // '';
my $smtp = Net::SMTP->new($ENV{HOST}, Port => $ENV{PORT}, SSL => $tls eq 'implicit') or die "no connection: $@";
$smtp->starttls or die $smtp->message if $tls eq 'starttls';
$smtp->auth($ENV{LOGIN}, $ENV{PASSWORD}) or die $smtp->message if $ENV{LOGIN};
for my $number (1 .. $ENV{TIMES}) {
    open(my $file, '<', "$number.eml") or die $!;
    $smtp->mail($ENV{FROM}) or die $smtp->message;
    $smtp->to(split ' ', $ENV{RECIPIENTS}) or die $smtp->message;
    $smtp->data([<$file>]) or die $smtp->message;
}
$smtp->quit;
