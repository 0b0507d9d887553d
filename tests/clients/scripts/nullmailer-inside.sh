#!/bin/bash
# What nullmailer.sh runs where nullmailer seems to be installed; all that runs here ends with it.
set -euo pipefail
queue=/var/spool/nullmailer
mkdir -p /etc/nullmailer $queue/queue $queue/tmp $queue/failed
mkfifo $queue/trigger
chown -R mail $queue
echo "$HOST smtp --port=$PORT" >/etc/nullmailer/remotes
echo printer >/etc/nullmailer/me
for ((n = 1; n <= TIMES; n++)); do nullmailer-inject -f "$FROM" <"$n.eml"; done
setpriv --reuid mail --regid mail --clear-groups nullmailer-send &
while [ -n "$(ls $queue/queue)" ]; do sleep 0.05; done
