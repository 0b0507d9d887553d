#!/bin/sh
# mutt as most have it.
MTA="set sendmail = \"$SENDMAIL -oem -oi\"" exec "$SCRIPTS/mutt.sh"
