#!/bin/bash
# Alertmanager is given one alert, and sends it.
exec "$SCRIPTS/private-root.sh" prometheus-alertmanager "$SCRIPTS/alertmanager-inside.sh"
