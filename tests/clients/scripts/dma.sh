#!/bin/bash
# dma with a smarthost, as the `sendmail` of a system.
exec "$SCRIPTS/private-root.sh" dma "$SCRIPTS/dma-inside.sh"
