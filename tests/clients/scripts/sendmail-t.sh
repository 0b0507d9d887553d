#!/bin/bash
# The plainest use: a message with its recipients in the header.
set -euo pipefail
for ((n = 1; n <= TIMES; n++)); do "$SENDMAIL" -t -i -f "$FROM" <"$n.eml"; done
