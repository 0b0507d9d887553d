#!/bin/bash
# swaks knows To and the recipients; the rest of the header is written here.
set -euo pipefail
header=(--h-From "\"$NAME\" <$FROM>" --h-To "${TO// /, }")
[ -z "$CC" ] || header+=(--add-header "Cc: ${CC// /, }")
attachment=()
[ -z "${ATTACHMENT:-}" ] || attachment=(--attach-type application/octet-stream --attach-name scan.bin --attach "@$ATTACHMENT")
while read -r subject; do
  swaks --server "$HOST" --port "$PORT" --ehlo printer --from "$FROM" --to "${RECIPIENTS// /,}" \
    "${header[@]}" --h-Subject "$subject" --body "@$TEXT" "${attachment[@]}"
done <<<"$SUBJECTS"
