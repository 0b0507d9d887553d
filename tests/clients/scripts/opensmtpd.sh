#!/bin/bash
# OpenSMTPD with us as its smarthost.
exec "$SCRIPTS/private-root.sh" opensmtpd "$SCRIPTS/opensmtpd-inside.sh"
