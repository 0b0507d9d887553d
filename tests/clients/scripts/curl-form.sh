#!/bin/bash
# curl builds the message: -F for its parts, -H for its header.
set -euo pipefail
header=(-H "From: \"$NAME\" <$FROM>" -H "To: ${TO// /, }")
[ -z "$CC" ] || header+=(-H "Cc: ${CC// /, }")
parts=(-F "=<$TEXT;type=text/plain;charset=utf-8;encoder=quoted-printable")
[ -z "${ATTACHMENT:-}" ] || parts+=(-F "=@$ATTACHMENT;type=application/octet-stream;encoder=base64;filename=scan.bin")
recipients=()
for recipient in $RECIPIENTS; do recipients+=(--mail-rcpt "$recipient"); done
all=()
while read -r subject; do
  [ ${#all[@]} = 0 ] || all+=(--next)
  all+=(-sS --mail-from "$FROM" "${recipients[@]}" "${header[@]}" -H "Subject: $subject" "${parts[@]}" "smtp://$HOST:$PORT/printer")
done <<<"$SUBJECTS"
curl -q "${all[@]}"
