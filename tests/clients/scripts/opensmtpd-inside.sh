#!/bin/bash
# What opensmtpd.sh runs where OpenSMTPD seems to be installed; all that runs here ends with it.
# Its sendmail encodes a message with longer lines as a whole, which breaks one with attachments, so they are folded.
set -euo pipefail
getent group opensmtpq >/dev/null || groupadd --system opensmtpq
id opensmtpd >/dev/null 2>&1 || useradd --system --no-create-home opensmtpd
id opensmtpq >/dev/null 2>&1 || useradd --system --no-create-home --gid opensmtpq opensmtpq
ln -sf smtpctl /usr/sbin/sendmail
chgrp opensmtpq /usr/sbin/smtpctl
chmod 2555 /usr/sbin/smtpctl
mkdir -p /run/opensmtpd /var/spool/smtpd /var/lib/opensmtpd/empty
chmod 711 /var/spool/smtpd
cat >/etc/smtpd.conf <<SETTINGS
listen on socket
action "relay" relay host smtp://$HOST:$PORT helo printer
match from local for any action "relay"
SETTINGS
smtpd -d 2>smtpd.log &
until [ -S /run/smtpd.sock ] || [ -S /var/run/smtpd.sock ]; do sleep 0.05; done
for ((n = 1; n <= TIMES; n++)); do sendmail -i -f "$FROM" -t < <(fold -w 900 "$n.eml") || { cat smtpd.log; exit 1; }; done
until [ "$(grep -c 'mta delivery.*result="Ok"' smtpd.log)" -ge $((TIMES * $(wc -w <<<"$RECIPIENTS"))) ]; do sleep 0.05; done
