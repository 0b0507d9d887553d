#!/bin/bash
# s-nail speaks SMTP where `mta` says so. Without `v15-compat` it would take `smtp` for the name of a program.
set -euo pipefail
options=()
for cc in $CC; do options+=(-c "$cc"); done
for bcc in $BCC; do options+=(-b "$bcc"); done
[ -z "${ATTACHMENT:-}" ] || options+=(-a "$ATTACHMENT")
while read -r subject; do
  s-nail -:/ -S v15-compat -S "mta=smtp://$HOST:$PORT" -S smtp-auth=none -S hostname=printer -S sendwait -S nosave \
    -S "from=$NAME <$FROM>" -s "$subject" "${options[@]}" $TO <"$TEXT"
done <<<"$SUBJECTS"
