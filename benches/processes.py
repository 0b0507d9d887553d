"""The processes of a measurement: what they cost, the stand-in for Gmail, and the load."""

import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
# Nothing that is measured here takes as long.
DEADLINE_S = 300
SENDER, RECIPIENT = "device@example.net", "you@example.com"


class Failure(Exception):
    """A measurement that went wrong, so that its figures would mean nothing."""


def stat(pid):
    """The parent of a process and its processor time with that of its ended children, in ticks."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[1]), sum(map(int, fields[11:15]))


def tree(root):
    """A process and all its living descendants, each with its processor time in ticks."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            found[int(pid)] = stat(pid)
        except (FileNotFoundError, ProcessLookupError):
            pass
    family = {root} & found.keys()
    while more := {pid for pid, (parent, _) in found.items() if parent in family} - family:
        family |= more
    return {pid: found[pid][1] for pid in family}


def processor_s(root):
    """What a process and its descendants, living and ended, have used: user and system time."""
    return sum(tree(root).values()) / TICKS_A_SECOND


def field_kb(path, key):
    try:
        with open(path, encoding="utf-8") as file:
            return next((int(line.split()[1]) for line in file if line.startswith(key)), 0)
    except (FileNotFoundError, ProcessLookupError):
        return 0


def memory_mb(root):
    """What a process and its descendants hold now; what they share is counted once (PSS)."""
    return sum(field_kb(f"/proc/{pid}/smaps_rollup", "Pss:") for pid in tree(root)) / 1000


class Peak:
    """The most that was held while this was open, looked at 20 times a second."""

    def __init__(self, memory):
        self.memory, self.memory_mb = memory, 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self):
        while not self.ended.wait(0.05):
            self.memory_mb = max(self.memory_mb, self.memory())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def busy_share(seconds):
    """The share of all processors that is used now, but for what gives way to us (nice)."""
    before = machine_ticks()
    time.sleep(seconds)
    free, total = (now - then for now, then in zip(machine_ticks(), before))
    return 1 - free / max(total, 1)


def machine_ticks():
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
    _, nice, _, idle, waiting, *_ = ticks
    return nice + idle + waiting, sum(ticks)


def wait_for_quiet():
    """Waits, for a minute at most, until others leave the machine alone."""
    # What the one before has left to be written is not for the next one to wait for.
    os.sync()
    deadline = time.monotonic() + 60
    while busy_share(0.5) > 0.15:
        if time.monotonic() > deadline:
            print("the machine is busy with something else, which shows in the figures", file=sys.stderr)
            return


def free_port():
    """A free port on loopback, below those that the system gives to clients."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def wait_for_greeting(port, alive):
    """Waits until somebody says 220 at this port."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and alive():
        try:
            with socket.create_connection(("127.0.0.1", port), 10) as client:
                if client.recv(3) == b"220":
                    return
        except OSError:
            time.sleep(0.001)
    raise Failure(f"nobody listens at port {port}")


def end(process):
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Standin:
    """`smarthost standin`, telling when messages arrive."""

    def __init__(self, program, folder, tell_every, rules=()):
        self.ca_file = f"{folder}/ca.pem"
        self.port = free_port()
        command = [program, "standin", "--counts-only", "--ca-file", self.ca_file, "--port", str(self.port)]
        command += ["--tell-every", str(tell_every)]
        for rule in rules:
            command += ["--rule", rule]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0, start_new_session=True)

    def __enter__(self):
        try:
            self.line()
        except BaseException:
            end(self.process)
            raise
        return self

    def __exit__(self, *_):
        end(self.process)
        self.process.stdout.close()

    def line(self):
        if not select.select([self.process.stdout], [], [], DEADLINE_S)[0]:
            raise Failure("the stand-in still waits for messages")
        line = self.process.stdout.readline().decode()
        if not line:
            raise Failure("the stand-in ended")
        return line

    def arrival(self):
        """When the next message that is told of came, in seconds since 1970."""
        return float(re.fullmatch(r"\d+ messages at (\d+\.\d+)\n", self.line())[1])

    def processor_s(self):
        return processor_s(self.process.pid)

    def go_away(self):
        end(self.process)


class Sent:
    """What a load took: when it began, how long, and its own processor time."""

    def __init__(self, began, seconds, processor):
        self.began, self.seconds, self.processor_s = began, seconds, processor


def send(port, messages, clients, size_bytes=4096, kept=False):
    """Sends messages with `smtp-source`, a new connection for each unless they are `kept`; all have to be taken."""
    command = ["smtp-source", "-s", str(clients), "-m", str(messages), "-l", str(size_bytes)]
    command += ["-M", "device.example.net", "-f", SENDER, "-t", RECIPIENT]
    command += (["-d"] if kept else []) + [f"127.0.0.1:{port}"]
    began = time.time()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    overdue = threading.Timer(DEADLINE_S, process.kill)
    overdue.start()
    try:
        said = process.stderr.read().decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        overdue.cancel()
        process.stderr.close()
        end(process)
    if process.returncode != 0 or said:
        raise Failure(f"smtp-source ended with {process.returncode}: {said.strip()}")
    return Sent(began, time.time() - began, usage.ru_utime + usage.ru_stime)


class Client:
    """A client that sends small messages on one connection, one command at a time."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies = self.socket.makefile("rb")
        line = b"The quick brown fox jumps over the lazy dog, again and again and again and.\r\n"
        header = f"From: <{SENDER}>\r\nTo: <{RECIPIENT}>\r\nSubject: one\r\n\r\n".encode()
        self.content = header + line * (4096 // len(line)) + b".\r\n"

    def __enter__(self):
        self.expect(b"220")
        self.say(b"EHLO device.example.net\r\n", b"250")
        return self

    def __exit__(self, *_):
        self.replies.close()
        self.socket.close()

    def say(self, words, wanted):
        self.socket.sendall(words)
        self.expect(wanted)

    def expect(self, wanted):
        while (line := self.replies.readline())[3:4] == b"-":
            pass
        if not line.startswith(wanted):
            raise Failure(f"expected {wanted.decode()}, got: {line.decode(errors='replace')}")

    def send(self):
        """Sends one message; returns when the final dot went out and when it was answered, in seconds since 1970."""
        self.say(f"MAIL FROM:<{SENDER}>\r\n".encode(), b"250")
        self.say(f"RCPT TO:<{RECIPIENT}>\r\n".encode(), b"250")
        self.say(b"DATA\r\n", b"354")
        dot = time.time()
        self.say(self.content, b"250")
        return dot, time.time()


class Appended:
    """A file that grows by 4 KiB at a time: what one synced write costs here."""

    def __init__(self, folder):
        self.file = tempfile.TemporaryFile(dir=folder, buffering=0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def append(self):
        began = time.perf_counter()
        self.file.write(bytes(4096))
        os.fdatasync(self.file.fileno())
        return time.perf_counter() - began


def end_group(pid):
    """Ends a process and the group that it leads."""
    family = tree(pid)
    for signal_number, patience_s in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
        try:
            os.killpg(pid, signal_number)
        except ProcessLookupError:
            pass
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if not any(os.path.exists(f"/proc/{member}") for member in family):
                return
            time.sleep(0.01)
