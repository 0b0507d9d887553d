#!/bin/bash
# Exim with us as its smarthost; each message is delivered while the command waits.
exec "$SCRIPTS/private-root.sh" exim4-base,exim4-daemon-light "$SCRIPTS/exim-inside.sh"
