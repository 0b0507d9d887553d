#!/bin/bash
# Compiles smtp.go once, and runs it.
set -euo pipefail
[ -x send ] || GOFLAGS=-mod=mod GOPROXY=off go build -o send "$SCRIPTS/smtp.go"
./send
