#!/bin/bash
# Compiles SmtpClient.cs once, and runs it.
set -euo pipefail
[ -f send.exe ] || mcs -out:send.exe "$SCRIPTS/SmtpClient.cs"
mono send.exe
