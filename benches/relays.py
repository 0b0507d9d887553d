"""The relays that are compared, each as private processes in a folder of their own."""

import json
import os
import pwd
import subprocess
import time

import processes
from processes import Failure

USER, PASSWORD = "me@gmail.com", "abcd efgh ijkl mnop"
CONNECTIONS = 20


class Smarthost:
    """smarthost with its defaults, but for the numbers of connections and the daily limit."""

    name = "smarthost"

    def __init__(self, program, folder, gmail):
        self.program, self.folder = program, folder
        self.port = processes.free_port()
        self.log = f"{folder}/relay.log"
        with open(f"{folder}/relay.toml", "x", encoding="utf-8", opener=private) as file:
            file.write(
                f'hostname = "relay.example.net"\n[[listen]]\naddress = "127.0.0.1:{self.port}"\n'
                f'[[account]]\nuser = "{USER}"\napp_password = "{PASSWORD}"\nhost = "localhost"\nport = {gmail.port}\n'
                f'tls = "implicit"\nca_file = "{gmail.ca_file}"\nconnections = {CONNECTIONS}\ndaily_limit = 1000000\n'
                f'[spool]\npath = "{folder}/spool"\n'
            )

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        processes.end(self.process)

    def start(self):
        """Starts it; returns how long that took, in seconds."""
        began = time.monotonic()
        with open(self.log, "ab") as log:
            command = [self.program, "run", "--config", f"{self.folder}/relay.toml"]
            self.process = subprocess.Popen(command, stderr=log, start_new_session=True)
        try:
            processes.wait_for_greeting(self.port, lambda: self.process.poll() is None)
        except BaseException:
            processes.end(self.process)
            raise
        self.pid = self.process.pid
        return time.monotonic() - began

    def restart(self):
        processes.end(self.process)
        return self.start()

    def memory_mb(self):
        return processes.field_kb(f"/proc/{self.pid}/status", "VmRSS:") / 1000

    def peak_mb(self):
        """The most that it ever held."""
        return processes.field_kb(f"/proc/{self.pid}/status", "VmHWM:") / 1000

    def complaints(self):
        """Lines of its log that speak of refused clients or lost mail."""
        bad = ("rejected", "refused", "expired", "uncertain", "bug")
        with open(self.log, encoding="utf-8") as log:
            return [line for line in log if json.loads(line).get("event") in bad]


def private(path, flags):
    return os.open(path, flags, 0o600)


MASTER = """
{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsproxy unix - - n - 0 tlsproxy
postlog unix-dgram n - n - 1 postlogd
"""

# What a smarthost client has to say, and where it keeps its things; all else is as Debian has it.
MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/maillog
maillog_file_prefixes = {folder}
myhostname = relay.example.net
mydestination =
alias_maps =
alias_database =
biff = no
append_dot_mydomain = no
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
message_size_limit = 40000000
relayhost = [localhost]:{gmail_port}
smtp_host_lookup = native
smtp_tls_wrappermode = yes
smtp_tls_security_level = secure
smtp_tls_CAfile = {ca_file}
smtp_tls_session_cache_database = btree:$data_directory/smtp_scache
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = texthash:{folder}/postfix/passwords
smtp_sasl_security_options = noanonymous
"""

TUNED = """
default_process_limit = 300
default_destination_concurrency_limit = 50
initial_destination_concurrency = 20
in_flow_delay = 0
smtp_connection_cache_destinations = localhost
smtp_tls_connection_reuse = yes
"""


class Postfix:
    """Postfix as a client of Gmail, with its defaults."""

    name = "Postfix"
    extra = ""

    def __init__(self, _, folder, gmail):
        self.port = processes.free_port()
        self.folder, self.config = folder, f"{folder}/postfix"
        settings = {"folder": folder, "port": f"127.0.0.1:{self.port}", "gmail_port": gmail.port}
        os.mkdir(self.config)
        os.mkdir(f"{folder}/queue")
        os.mkdir(f"{folder}/data")
        os.chown(f"{folder}/data", pwd.getpwnam("postfix").pw_uid, -1)
        self.write("master.cf", MASTER.format(**settings))
        self.write("main.cf", MAIN.format(ca_file=gmail.ca_file, **settings) + self.extra)
        self.write("passwords", f"[localhost]:{gmail.port} {USER}:{PASSWORD}\n")

    def write(self, name, text):
        with open(f"{self.config}/{name}", "w", encoding="utf-8") as file:
            file.write(text)

    def __enter__(self):
        try:
            self.start()
            self.pid = self.master()
            processes.wait_for_greeting(self.port, lambda: True)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        command = ["postfix", "-c", self.config, "start"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True, text=True) as process:
            # Also when interrupted: what is half started could not be found and ended.
            said = process.stderr.read()
        if process.returncode != 0:
            raise Failure(f"Postfix did not start: {said}{self.maillog()}")

    def master(self):
        with open(f"{self.folder}/queue/pid/master.pid", encoding="ascii") as file:
            return int(file.read())

    def stop(self):
        try:
            pid = self.master()
        except (FileNotFoundError, ValueError):
            return
        processes.end_group(pid)

    def memory_mb(self):
        return processes.memory_mb(self.pid)

    def peak_mb(self):
        """Nobody keeps the most that several processes held at a time."""
        return 0

    def maillog(self):
        try:
            with open(f"{self.folder}/maillog", encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def complaints(self):
        bad = ("reject:", "fatal:", "panic:", "error:", "status=bounced", "too many")
        return [line for line in self.maillog().splitlines() if any(word in line for word in bad)]


class Tuned(Postfix):
    """Postfix with a connection cache and more processes."""

    name = "Postfix, tuned"
    extra = TUNED
