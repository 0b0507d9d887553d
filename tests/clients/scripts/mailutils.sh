#!/bin/bash
# GNU Mailutils, told by `sendmail` to speak SMTP.
set -euo pipefail
options=()
[ -z "$CC" ] || options+=(-a "Cc: ${CC// /, }")
[ -z "$BCC" ] || options+=(-a "Bcc: ${BCC// /, }")
[ -z "${ATTACHMENT:-}" ] || options+=(--content-type application/octet-stream --attach "$ATTACHMENT")
while read -r subject; do
  mail.mailutils -E "unset dot" -E "set sendmail=\"smtp://$HOST:$PORT\"" -a "From: \"$NAME\" <$FROM>" -s "$subject" \
    "${options[@]}" $TO <"$TEXT"
done <<<"$SUBJECTS"
