#!/usr/bin/python3
"""Django's EmailMessage over its SMTP backend."""
import os

import django
from django.conf import settings
from django.core.mail import EmailMessage, get_connection

settings.configure(
    EMAIL_HOST=os.environ["HOST"],
    EMAIL_PORT=int(os.environ["PORT"]),
    EMAIL_HOST_USER=os.environ.get("LOGIN", ""),
    EMAIL_HOST_PASSWORD=os.environ.get("PASSWORD", ""),
    EMAIL_USE_TLS=os.environ.get("TLS") == "starttls",
    EMAIL_USE_SSL=os.environ.get("TLS") == "implicit",
)
django.setup()
connection = get_connection()
mails = []
for subject in os.environ["SUBJECTS"].splitlines():
    text = open(os.environ["TEXT"], encoding="utf-8").read()
    sender = f'"{os.environ["NAME"]}" <{os.environ["FROM"]}>'
    to, cc, bcc = (os.environ[field].split() for field in ("TO", "CC", "BCC"))
    mail = EmailMessage(subject, text, sender, to, bcc, cc=cc, connection=connection)
    if "ATTACHMENT" in os.environ:
        mail.attach("scan.bin", open(os.environ["ATTACHMENT"], "rb").read(), "application/octet-stream")
    mails.append(mail)
connection.send_messages(mails)
