#!/bin/bash
# nullmailer: injected into its queue, sent from there.
exec "$SCRIPTS/private-root.sh" nullmailer "$SCRIPTS/nullmailer-inside.sh"
