#!/bin/bash
# Programs that want SMTP, but from a program: swaks talks to `sendmail -bs` through a pipe.
PIPE=1 exec "$SCRIPTS/swaks.sh"
