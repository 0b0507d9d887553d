#!/bin/bash
# One curl uploads all messages over one connection. --crlf makes it double the dots; see curl-lf.sh.
set -euo pipefail
all=()
for ((n = 1; n <= TIMES; n++)); do
  ((n == 1)) || all+=(--next)
  all+=(-sS ${CRLF---crlf} --mail-from "$FROM" --upload-file "$n.eml" "smtp://$HOST:$PORT/printer")
  for recipient in $RECIPIENTS; do all+=(--mail-rcpt "$recipient"); done
done
curl -q "${all[@]}"
