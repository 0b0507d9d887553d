#!/bin/bash
# esmtp, with libesmtp.
set -euo pipefail
printf 'hostname = %s:%s\n' "$HOST" "$PORT" >esmtprc
for ((n = 1; n <= TIMES; n++)); do "$UNPACKED/esmtp/usr/bin/esmtp" -C esmtprc -f "$FROM" -t <"$n.eml"; done
