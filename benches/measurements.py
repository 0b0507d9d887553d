"""What is measured, and the rows of the table that show it."""

import contextlib
import os
import statistics
import tempfile
import time
from typing import NamedTuple

import processes
from processes import Failure

MIB = 1024 * 1024
WAITING = 100_000
# The first messages open connections and wake processes.
WARM_UP = 10


class Bench:
    """Where and how much is measured."""

    def __init__(self, program, place, quick):
        self.program, self.place, self.quick = program, place, quick

    def count(self, messages):
        return messages // 4 if self.quick else messages

    @contextlib.contextmanager
    def relay(self, kind, tell_every=1, rules=(), away=False):
        """A relay and its Gmail in a new folder; Gmail may be `away`, so that its port is closed."""
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="compare-", dir=self.place))
            # Postfix gives up its rights, and has to reach its queue.
            os.chmod(folder, 0o755)
            gmail = stack.enter_context(processes.Standin(self.program, folder, tell_every, rules))
            if away:
                gmail.go_away()
            relay = stack.enter_context(kind(self.program, folder, gmail))
            yield relay, gmail
            if complaints := relay.complaints():
                raise Failure(f"{kind.name} complained {len(complaints)} times: {complaints[0]}")


def accepted(bench, kind, clients):
    """Gmail is away, so that nothing is delivered meanwhile."""
    messages = bench.count(4000)
    with bench.relay(kind, away=True) as (relay, _):
        sent = processes.send(relay.port, messages, clients)
    return {"accepted": messages / sent.seconds}


def delivered(bench, kind, clients):
    messages = bench.count(4000)
    with bench.relay(kind, tell_every=messages) as (relay, gmail):
        relay_s, gmail_s = processes.processor_s(relay.pid), gmail.processor_s()
        sent = processes.send(relay.port, messages, clients)
        seconds = gmail.arrival() - sent.began
        relay_s, gmail_s = processes.processor_s(relay.pid) - relay_s, gmail.processor_s() - gmail_s
    return {
        "delivered": messages / seconds,
        "processor": relay_s * 1000 / messages,
        "load": sent.processor_s * 1000 / messages,
        "gmail": gmail_s * 1000 / messages,
    }


def single(bench, kind):
    """One client, one message after another; delivery goes on meanwhile."""
    messages = bench.count(1000)
    with bench.relay(kind, tell_every=messages) as (relay, gmail):
        sent = processes.send(relay.port, messages, 1)
        seconds = gmail.arrival() - sent.began
    return {"accepted": messages / sent.seconds, "delivered": messages / seconds}


def alone(bench, kind, messages, rest_s, rules=()):
    """One message, then rest, then the next one, on a kept connection; each time with a synced append beside it."""
    times = []
    with contextlib.ExitStack() as stack:
        relay, gmail = stack.enter_context(bench.relay(kind, rules=rules))
        client = stack.enter_context(processes.Client(relay.port))
        disk = stack.enter_context(processes.Appended(bench.place))
        row = statistics.median(disk.append() for _ in range(200)) * 1000
        for _ in range(WARM_UP + bench.count(messages)):
            time.sleep(rest_s)
            append_s = disk.append()
            dot, answered = client.send()
            times.append((answered - dot, gmail.arrival() - dot, append_s))
    answer, arrival, append = (statistics.median(column) * 1000 for column in zip(*times[WARM_UP:]))
    appends = {"append": append, "answer in appends": answer / append, "row": row, "answer in row": answer / row}
    return {"answer": answer, "arrival": arrival, **appends}


def large(bench, kind, clients, messages, size_bytes):
    """Megabytes a second, to the end."""
    messages = max(bench.count(messages), clients)
    with bench.relay(kind, tell_every=messages) as (relay, gmail):
        sent = processes.send(relay.port, messages, clients, size_bytes)
        seconds = gmail.arrival() - sent.began
    return {"MB": messages * size_bytes / 1e6 / seconds}


def memory(bench, kind):
    with bench.relay(kind, tell_every=16) as (relay, gmail):
        idle_mb = relay.memory_mb()
        with processes.Peak(relay.memory_mb) as peak:
            processes.send(relay.port, 16, 16, 25_000_000)
            gmail.arrival()
        peak_mb = max(peak.memory_mb, relay.peak_mb())
    return {"idle": idle_mb, "peak": peak_mb}


def waiting(bench, kind):
    """A queue of 100,000: Gmail is away."""
    messages = bench.count(4000)
    with bench.relay(kind, away=True) as (relay, _):
        empty = processes.send(relay.port, messages, 20)
        processes.send(relay.port, bench.count(WAITING) - messages, 20, kept=True)
        behind = processes.send(relay.port, messages, 20)
        peak_mb = relay.peak_mb()
        start_s = relay.restart()
        # It reads what waits, and tries some of it.
        time.sleep(2)
        peak_mb = max(peak_mb, relay.peak_mb())
    rates = {"empty": messages / empty.seconds, "behind": messages / behind.seconds}
    return {**rates, "behind in empty": rates["behind"] / rates["empty"], "peak": peak_mb, "start": start_s}


MEASUREMENTS = {
    "accepted": lambda bench, kind: accepted(bench, kind, 20),
    "delivered": lambda bench, kind: delivered(bench, kind, 20),
    "accepted100": lambda bench, kind: accepted(bench, kind, 100),
    "delivered100": lambda bench, kind: delivered(bench, kind, 100),
    "single": single,
    "alone": lambda bench, kind: alone(bench, kind, 200, 0.02),
    "large1": lambda bench, kind: large(bench, kind, 20, 400, MIB),
    "large25": lambda bench, kind: large(bench, kind, 4, 16, 25 * MIB),
    "slow": lambda bench, kind: alone(bench, kind, 50, 0.1, ["all delay=20ms"]),
    "memory": memory,
    "waiting": waiting,
}


# What Postfix is not asked for.
OURS_ALONE = {"waiting"}
# What is measured with something else.
TOGETHER = {"processor": "delivered"}


class Row(NamedTuple):
    measurement: str
    figure: str
    words: str
    digits: int
    # What is to be reached, in the same run: against Postfix and against it tuned, or at all.
    wanted: str = ""

    @property
    def compared(self):
        """Whether a ratio says anything: what stands below another row explains that one."""
        return not self.words.startswith("·")


ROWS = [
    Row("accepted", "accepted", "accepted and synced a second, 4 KiB, 20 clients, new connections", 0, "≥ 8 ×, ≥ 5 ×"),
    Row("delivered", "delivered", "delivered a second, the same load", 0, "≥ 6 ×, ≥ 4 ×"),
    Row("accepted100", "accepted", "accepted a second, 100 clients", 0, "≥ 8 ×"),
    Row("delivered100", "delivered", "delivered a second, 100 clients", 0, "≥ 6 ×"),
    Row("single", "accepted", "one client: accepted a second while delivery goes on", 0, "≥ 3 ×"),
    Row("single", "delivered", "one client: delivered a second", 0, "≥ 3 ×"),
    Row("alone", "answer", "final dot to 250, otherwise idle, ms", 2),
    Row("alone", "append", "· one append of 4 KiB with fdatasync, after the same rest, ms", 2),
    Row("alone", "answer in appends", "· final dot to 250, in such appends", 2),
    Row("alone", "row", "· one of many such appends, without rest, ms", 2),
    Row("alone", "answer in row", "· final dot to 250, in appends without rest", 2, "≤ 3"),
    Row("alone", "arrival", "final dot to arrival, one message alone, ms", 2, "≤ 0.5 ×"),
    Row("slow", "arrival", "the same where each reply of Gmail takes 20 ms, ms", 1, "≤ 45 ms"),
    Row("large1", "MB", "1 MiB from 20 clients, delivered, MB a second", 0, "≥ 1.3 ×"),
    Row("large25", "MB", "25 MiB from 4 clients, delivered, MB a second", 0, "≥ 1.2 ×"),
    Row("delivered", "processor", "processor seconds for 1,000 delivered, 20 clients", 2, "≤ 0.3 s"),
    Row("delivered", "load", "· of the load beside it", 2),
    Row("delivered", "gmail", "· of the stand-in beside it", 2),
    Row("memory", "idle", "memory, idle, MB", 1, "≤ 12 MB"),
    Row("memory", "peak", "memory, 16 clients with 25 MB at once, MB", 1, "≤ 48 MB"),
    Row("waiting", "peak", "memory, 100,000 messages waiting, MB", 1, "≤ 48 MB"),
    Row("waiting", "empty", "accepted a second, nothing waiting", 0),
    Row("waiting", "behind", "accepted a second, 100,000 waiting", 0),
    Row("waiting", "behind in empty", "· as a part of the rate with nothing waiting", 2, "≥ 0.9"),
    Row("waiting", "start", "from start to the first greeting, 100,000 waiting, s", 2, "≤ 1 s"),
]
