#!/bin/bash
# bsd-mailx, which calls whatever `sendmail` is set to. It copies raw UTF-8.
set -euo pipefail
echo "set sendmail=$SENDMAIL" >mailrc
export MAILRC=mailrc
options=(-a "From: \"$NAME\" <$FROM>")
[ -z "$CC" ] || options+=(-c "${CC// /,}")
[ -z "$BCC" ] || options+=(-b "${BCC// /,}")
while read -r subject; do
  "$UNPACKED/bsd-mailx/usr/bin/bsd-mailx" -n -s "$subject" "${options[@]}" $TO <"$TEXT"
done <<<"$SUBJECTS"
