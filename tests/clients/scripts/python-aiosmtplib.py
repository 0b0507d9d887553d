#!/usr/bin/python3
"""aiosmtplib with the messages of python-smtplib.py."""
import asyncio
import os
import runpy

import aiosmtplib

message = runpy.run_path(f"{os.environ['SCRIPTS']}/python-smtplib.py")["message"]


async def main():
    tls = os.environ.get("TLS")
    login = {"username": os.environ.get("LOGIN"), "password": os.environ.get("PASSWORD")}
    encryption = {"use_tls": tls == "implicit", "start_tls": tls == "starttls"}
    smtp = aiosmtplib.SMTP(os.environ["HOST"], int(os.environ["PORT"]), **login, **encryption)
    async with smtp:
        for subject in os.environ["SUBJECTS"].splitlines():
            await smtp.send_message(message(subject))


asyncio.run(main())
