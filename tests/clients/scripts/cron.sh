#!/bin/bash
# The daemon runs a job that says something, and mails it to root through /usr/sbin/sendmail.
export JOB_FOLDER=$PWD
exec "$SCRIPTS/private-root.sh" cron "$SCRIPTS/cron-inside.sh"
