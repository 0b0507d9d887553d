#!/bin/bash
# The daemon runs a job that says something, and mails it to root through /usr/sbin/sendmail.
# The folder with the spool is shared with the relay.
export JOB_FOLDER=$PWD
cd ..
exec "$SCRIPTS/private-root.sh" cron "$SCRIPTS/cron-inside.sh"
