#!/bin/bash
# Messages as files, as `git format-patch` makes them; one connection.
set -euo pipefail
git init -q .
options=()
for to in $TO; do options+=(--to "$to"); done
for cc in $CC; do options+=(--cc "$cc"); done
for bcc in $BCC; do options+=(--bcc "$bcc"); done
export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME="$NAME" GIT_AUTHOR_EMAIL="$FROM" GIT_COMMITTER_NAME="$NAME" GIT_COMMITTER_EMAIL="$FROM"
patches=()
n=0
while read -r subject; do
  n=$((n + 1))
  patch=$(printf '%04d.patch' $n)
  printf 'From: %s <%s>\nSubject: %s\n\n' "$NAME" "$FROM" "$subject" >"$patch"
  cat "$TEXT" >>"$patch"
  patches+=("$patch")
done <<<"$SUBJECTS"
git send-email --smtp-server="$HOST" --smtp-server-port="$PORT" --smtp-domain=printer --from="$NAME <$FROM>" \
  --8bit-encoding=UTF-8 --transfer-encoding=auto --confirm=never --suppress-cc=all --no-thread --quiet "${options[@]}" "${patches[@]}"
