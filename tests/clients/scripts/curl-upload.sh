#!/bin/bash
# One curl uploads all messages over one connection. --crlf makes it double the dots; see curl-lf.sh.
set -euo pipefail
all=()
scheme=smtp
more=()
[ -z "${LOGIN:-}" ] || more+=(--user "$LOGIN:$PASSWORD")
case ${TLS:-} in
starttls) more+=(--ssl-reqd) ;;
implicit) scheme=smtps ;;
esac
for ((n = 1; n <= TIMES; n++)); do
  ((n == 1)) || all+=(--next)
  all+=(-sS ${CRLF---crlf} --mail-from "$FROM" --upload-file "$n.eml" "$scheme://$HOST:$PORT/printer" "${more[@]}")
  for recipient in $RECIPIENTS; do all+=(--mail-rcpt "$recipient"); done
done
curl -q "${all[@]}"
