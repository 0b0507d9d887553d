#!/bin/sh
HOST=$SENDMAIL exec "$SCRIPTS/git-send-email.sh"
