#!/bin/bash
# swaks knows To and the recipients; the rest of the header is written here. With PIPE it talks to a program.
set -euo pipefail
header=(--h-From "\"$NAME\" <$FROM>" --h-To "${TO// /, }")
[ -z "$CC" ] || header+=(--add-header "Cc: ${CC// /, }")
attachment=()
[ -z "${ATTACHMENT:-}" ] || attachment=(--attach-type application/octet-stream --attach-name scan.bin --attach "@$ATTACHMENT")
server=(--server "$HOST" --port "$PORT")
[ -z "${LOGIN:-}" ] || server+=(--auth --auth-user "$LOGIN" --auth-password "$PASSWORD")
case ${TLS:-} in
starttls) server+=(--tls --tls-verify) ;;
implicit) server+=(--tls-on-connect --tls-verify) ;;
esac
[ -z "${PIPE:-}" ] || server=(--pipe "$SENDMAIL -bs")
while read -r subject; do
  swaks "${server[@]}" --ehlo printer --from "$FROM" --to "${RECIPIENTS// /,}" \
    "${header[@]}" --h-Subject "$subject" --body "@$TEXT" "${attachment[@]}"
done <<<"$SUBJECTS"
