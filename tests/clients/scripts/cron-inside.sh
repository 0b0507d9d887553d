#!/bin/bash
# What cron.sh runs where cron seems to be installed, and smarthost as the system's `sendmail`.
set -euo pipefail
ln -sf "$(readlink "$SENDMAIL")" /usr/sbin/sendmail
mkdir -p /etc/smarthost
cp "$SMARTHOST_CONFIG" /etc/smarthost/relay.toml
rm -f /etc/cron.d/* /run/crond.reboot
echo '' >/etc/crontab
echo "@reboot root echo 'Die Platte ist fast voll: 97 %.'; touch $JOB_FOLDER/ran" >/etc/cron.d/job
cron -f &
until [ -e "$JOB_FOLDER/ran" ]; do sleep 0.05; done
while pgrep -x sendmail >/dev/null || pgrep -x smarthost >/dev/null; do sleep 0.05; done
