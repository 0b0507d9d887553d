#!/bin/bash
# A script that talks without listening, as backup scripts do; it ends lines as SMTP wants, and doubles dots.
set -euo pipefail
talk() {
  echo "HELO printer"
  for ((n = 1; n <= TIMES; n++)); do
    echo "MAIL FROM: $FROM"
    for recipient in $RECIPIENTS; do echo "RCPT TO: $recipient"; done
    echo DATA
    sed 's/^\./../' "$n.eml"
    echo .
  done
  echo QUIT
}
talk | sed 's/$/\r/' | nc "$HOST" "$PORT"
