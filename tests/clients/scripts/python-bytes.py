#!/usr/bin/python3
"""smtplib given bytes: line ends stay bare LF, and dots are doubled behind them."""
import os
import smtplib

with smtplib.SMTP(os.environ["HOST"], int(os.environ["PORT"]), local_hostname="printer") as smtp:
    for number in range(1, int(os.environ["TIMES"]) + 1):
        content = open(f"{number}.eml", "rb").read()
        smtp.sendmail(os.environ["FROM"], os.environ["RECIPIENTS"].split(), content)
