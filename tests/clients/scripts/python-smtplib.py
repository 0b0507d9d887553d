#!/usr/bin/python3
"""smtplib with a message that the standard library builds."""
import os
import smtplib
import ssl
from email.headerregistry import Address
from email.message import EmailMessage

is_set = os.environ.get


def message(subject):
    mail = EmailMessage()
    mail["From"] = Address(is_set("NAME"), addr_spec=is_set("FROM"))
    for field in ("To", "Cc", "Bcc"):
        if is_set(field.upper()):
            mail[field] = is_set(field.upper()).split()
    mail["Subject"] = subject
    mail.set_content(open(is_set("TEXT"), encoding="utf-8").read())
    if is_set("ATTACHMENT"):
        content = open(is_set("ATTACHMENT"), "rb").read()
        mail.add_attachment(content, maintype="application", subtype="octet-stream", filename="scan.bin")
    return mail


if __name__ == "__main__":
    implicit = is_set("TLS") == "implicit"
    with (smtplib.SMTP_SSL if implicit else smtplib.SMTP)(is_set("HOST"), int(is_set("PORT"))) as smtp:
        if is_set("TLS") == "starttls":
            smtp.starttls(context=ssl.create_default_context())
        if is_set("LOGIN"):
            smtp.login(is_set("LOGIN"), is_set("PASSWORD"))
        for subject in is_set("SUBJECTS").splitlines():
            smtp.send_message(message(subject))
