#!/bin/bash
# As cron and PHP call it: the recipients are read from the header. A connection for each message.
set -euo pipefail
auth=(--auth=off)
[ -z "${LOGIN:-}" ] || auth=(--auth=plain --user="$LOGIN" --passwordeval="echo $PASSWORD")
tls=(--tls=off)
case ${TLS:-} in
starttls) tls=(--tls=on --tls-trust-file="$SSL_CERT_FILE") ;;
implicit) tls=(--tls=on --tls-starttls=off --tls-trust-file="$SSL_CERT_FILE") ;;
esac
for ((n = 1; n <= TIMES; n++)); do
  msmtp --host="$HOST" --port="$PORT" "${auth[@]}" "${tls[@]}" --domain=printer --from="$FROM" -t <"$n.eml"
done
