#!/bin/bash
# What cron.sh runs where cron seems to be installed, and smarthost as the system's `sendmail`.
set -euo pipefail
ln -sf "$(readlink "$SENDMAIL")" /usr/sbin/sendmail
mkdir -p /etc/smarthost
cp "$SMARTHOST_CONFIG" /etc/smarthost/relay.toml
rm -f /etc/cron.d/* /run/crond.reboot
echo '' >/etc/crontab
# A per cent sign is a line end to cron.
echo "@reboot root echo 'Die Platte ist zu 97 \\% voll: Größe prüfen.'; touch $JOB_FOLDER/ran" >/etc/cron.d/job
cron -f &
until [ -e "$JOB_FOLDER/ran" ]; do sleep 0.05; done
while [ -n "$(cat /proc/$!/task/$!/children)" ]; do sleep 0.05; done
