#!/bin/bash
# mutt without anybody's settings, and with its own SMTP. By default it wants TLS.
set -euo pipefail
cat >muttrc <<SETTINGS
${MTA:-set smtp_url = "smtp://$HOST:$PORT/"}
set from = "\"$NAME\" <$FROM>"
set envelope_from = yes
set record = ""
set ssl_force_tls = no
SETTINGS
options=()
for cc in $CC; do options+=(-c "$cc"); done
for bcc in $BCC; do options+=(-b "$bcc"); done
[ -z "${ATTACHMENT:-}" ] || options+=(-a "$ATTACHMENT")
while read -r subject; do
  mutt -n -F muttrc -s "$subject" "${options[@]}" -- $TO <"$TEXT"
done <<<"$SUBJECTS"
