#!/usr/bin/python3
"""aiosmtplib with the messages of python-smtplib.py."""
import asyncio
import os
import runpy

import aiosmtplib

message = runpy.run_path(f"{os.environ['SCRIPTS']}/python-smtplib.py")["message"]


async def main():
    smtp = aiosmtplib.SMTP(os.environ["HOST"], int(os.environ["PORT"]), local_hostname="printer")
    async with smtp:
        for subject in os.environ["SUBJECTS"].splitlines():
            await smtp.send_message(message(subject))


asyncio.run(main())
