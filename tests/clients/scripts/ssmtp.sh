#!/bin/bash
# ssmtp, which takes its settings from a file that it is told.
set -euo pipefail
printf 'mailhub=%s:%s\nhostname=printer\nFromLineOverride=YES\n' "$HOST" "$PORT" >ssmtp.conf
for ((n = 1; n <= TIMES; n++)); do "$UNPACKED/ssmtp/usr/sbin/ssmtp" -C ssmtp.conf -f "$FROM" -t <"$n.eml"; done
