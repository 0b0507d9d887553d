#!/bin/sh
POOL=1 exec "$SCRIPTS/nodemailer.js"
