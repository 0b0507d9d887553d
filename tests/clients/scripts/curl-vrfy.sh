#!/bin/sh
# curl with nothing to upload asks about the recipient.
exec curl -q -sS "smtp://$HOST:$PORT" --mail-rcpt "$TO"
