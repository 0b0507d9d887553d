#!/bin/bash
# As cron and PHP call it: the recipients are read from the header. A connection for each message.
set -euo pipefail
for ((n = 1; n <= TIMES; n++)); do
  msmtp --host="$HOST" --port="$PORT" --auth=off --tls=off --domain=printer --from="$FROM" -t <"$n.eml"
done
