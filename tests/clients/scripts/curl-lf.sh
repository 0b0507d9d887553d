#!/bin/bash
# The same as most scripts have it, without --crlf.
CRLF= exec "$SCRIPTS/curl-upload.sh"
