#!/bin/sh
exec "$SCRIPTS/javamail.sh" jakarta
