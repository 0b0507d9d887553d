#!/usr/bin/python3
"""smtplib given text: line ends become CRLF, and there is nothing but ASCII."""
import os
import smtplib

with smtplib.SMTP(os.environ["HOST"], int(os.environ["PORT"]), local_hostname="printer") as smtp:
    for number in range(1, int(os.environ["TIMES"]) + 1):
        content = open(f"{number}.eml", encoding="ascii").read()
        smtp.sendmail(os.environ["FROM"], os.environ["RECIPIENTS"].split(), content)
