#!/bin/bash
# What exim.sh runs where Exim seems to be installed. Its own limit for the length of a line is lifted.
set -euo pipefail
id Debian-exim 2>/dev/null || useradd --system --no-create-home Debian-exim
mkdir -p /var/spool/exim4 /var/log/exim4 /etc/exim4
chown Debian-exim /var/spool/exim4 /var/log/exim4
cat >/etc/exim4/exim4.conf <<SETTINGS
primary_hostname = printer
untrusted_set_sender = *
local_from_check = false
begin routers
smarthost:
  driver = manualroute
  transport = smarthost
  route_list = * $HOST byname
  self = send
  host_find_failed = defer
begin transports
smarthost:
  driver = smtp
  allow_localhost
  port = $PORT
  hosts_try_fastopen =
  message_linelength_limit = 1000000
SETTINGS
for ((n = 1; n <= TIMES; n++)); do exim4 -odf -i -f "$FROM" -t <"$n.eml"; done
grep -q ' == \| \*\* ' /var/log/exim4/mainlog && cat /var/log/exim4/mainlog && exit 1
exit 0
