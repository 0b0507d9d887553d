#!/bin/bash
# What alertmanager.sh runs where Alertmanager seems to be installed; all that runs here ends with it.
# It is given one alert, and sends it, with the settings that docs/clients.md recommends.
set -euo pipefail
sed -n '/^## Alertmanager/,/^## /p' "$SCRIPTS/../../../docs/clients.md" | sed '1,/^```yaml/d; /^```/,$d' |
  sed "s/192.168.1.10:25/$HOST:$PORT/" >alertmanager.yml
cat >>alertmanager.yml <<SETTINGS
route: {receiver: mail, group_wait: 10ms}
receivers: [{name: mail, email_configs: [{to: $TO}]}]
SETTINGS
prometheus-alertmanager --config.file=alertmanager.yml --storage.path=alerts \
  --web.listen-address=127.0.0.1:0 --cluster.listen-address= --log.level=debug 2>alertmanager.log &
until address=$(grep -o 'msg=.*[Ll]istening.*address=127[0-9.:]*' alertmanager.log); do sleep 0.05; done
alert='[{"labels": {"alertname": "ToBeMailed"}}]'
curl -q -sSf --retry 20 --retry-connrefused --retry-delay 1 -H 'Content-Type: application/json' -d "$alert" "http://${address##*=}/api/v2/alerts"
until grep 'Notify success\|Notify attempt failed' alertmanager.log; do sleep 0.05; done
