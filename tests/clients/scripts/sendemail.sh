#!/bin/bash
# sendEmail doubles only a dot that stands alone.
set -euo pipefail
options=(-t $TO)
[ -z "$CC" ] || options+=(-cc $CC)
[ -z "$BCC" ] || options+=(-bcc $BCC)
[ -z "${ATTACHMENT:-}" ] || options+=(-a "$ATTACHMENT")
while read -r subject; do
  sendemail -q -s "$HOST:$PORT" -o tls=no -o message-charset=utf-8 -o message-file="$TEXT" -f "$NAME <$FROM>" \
    -u "$subject" "${options[@]}"
done <<<"$SUBJECTS"
