#!/bin/bash
# What postfix.sh runs where Postfix seems to be installed; all that runs here ends with it.
set -euo pipefail
id postfix >/dev/null 2>&1 || useradd --system --no-create-home postfix
getent group postdrop >/dev/null || groupadd --system postdrop
mkdir -p /etc/postfix /var/lib/postfix
cp -a /usr/share/postfix/master.cf.dist /etc/postfix/master.cf
cp -a "$UNPACKED"/postfix/etc/postfix/* /etc/postfix/
sed -i '/^smtp  *inet/d' /etc/postfix/master.cf
cat >/etc/postfix/main.cf <<SETTINGS
compatibility_level = 3.6
myhostname = printer.nas.local
mydestination =
alias_maps =
relayhost = [$HOST]:$PORT
smtp_connection_cache_destinations = $HOST
maillog_file = /dev/stdout
inet_interfaces = loopback-only
SETTINGS
chgrp postdrop /usr/sbin/postdrop /usr/sbin/postqueue
chmod 2755 /usr/sbin/postdrop /usr/sbin/postqueue
chown postfix /var/lib/postfix
postfix start-fg >postfix.log 2>&1 &
until [ -S /var/spool/postfix/public/pickup ]; do sleep 0.05; done
for ((n = 1; n <= TIMES; n++)); do sendmail -i -f "$FROM" -t <"$n.eml"; done
until [ "$(grep -c 'status=sent' postfix.log)" -ge $((TIMES * $(wc -w <<<"$RECIPIENTS"))) ]; do sleep 0.05; done
