#!/bin/bash
# Postfix with `relayhost`; messages go into its queue through its own sendmail.
exec "$SCRIPTS/private-root.sh" postfix "$SCRIPTS/postfix-inside.sh"
