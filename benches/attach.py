#!/usr/bin/python3
"""How long httpsniff takes to begin and to stop: `make bench`.

    benches/attach.py [HTTPSNIFF] [--processes 200] [--copies 50] [--rounds 7]

200 processes of several programs sleep, node (an executable of 100 MB) among
them. Each case is run several times; printed are the median and the worst:

    start    from the exec of httpsniff to its --ready-file: capturing has begun
    cpu      what it computed until then (of other programs' load less depends)
    stop     from SIGINT to its end

The last case is with 50 copies of libssl, each mapped by a process. Needs root.
"""

import argparse
import os
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

LIMIT = 0.3

SLEEPERS = {
    "sleep": ["sleep", "100000"],
    "sh": ["sh", "-c", "read x"],
    "python with ssl": ["/usr/bin/python3", "-c", "import ssl, sys; sys.stdin.read()"],
    "python": ["/usr/bin/python3", "-c", "import sys; sys.stdin.read()"],
    "cat": ["cat"],
    "openssl": ["openssl"],
    "perl": ["perl", "-e", "<STDIN>"],
}
NODE = ["node", "-e", "process.stdin.on('data', () => {})"]
LOADER = "import ctypes, sys; ctypes.CDLL(sys.argv[1]); sys.stdin.read()"


def start_sleepers(count):
    """`count` processes that wait, two of them node."""
    kinds = [words for words in SLEEPERS.values() if shutil.which(words[0])]
    commands = [NODE] * 2 if shutil.which("node") else []
    while len(commands) < count:
        commands.append(kinds[len(commands) % len(kinds)])
    return [sleeper(command) for command in commands]


def sleeper(command):
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def start_copies(folder, count):
    """`count` processes, each with a libssl of its own."""
    library = None
    with open("/proc/self/maps", encoding="utf-8") as maps:
        import ssl  # noqa: F401  pylint: disable=import-outside-toplevel,unused-import

        maps.seek(0)
        for line in maps:
            if "/libssl.so" in line:
                library = line.split()[-1]
    if not library:
        sys.exit("bench: python's ssl does not use a shared libssl")
    processes = []
    for number in range(count):
        copy = f"{folder}/libssl-{number}.so.3"
        shutil.copyfile(library, copy)
        processes.append(sleeper(["/usr/bin/python3", "-c", LOADER, copy]))
    return processes


def settle(processes):
    """Waits until none of them runs: all have loaded what they load."""
    until = time.monotonic() + 60
    for process in processes:
        while time.monotonic() < until:
            with open(f"/proc/{process.pid}/stat", encoding="utf-8") as stat:
                if stat.read().rsplit(")", 1)[1].split()[0] == "S":
                    break
            time.sleep(0.01)
    time.sleep(1)


def cpu_seconds(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as stat:
                total += int(stat.read().split()[0])
        except FileNotFoundError:
            pass
    return total / 1e9


def measure(program, arguments):
    """Seconds to begin, of CPU until then, and to stop."""
    with tempfile.TemporaryDirectory(prefix="httpsniff-bench-") as folder:
        # A named pipe tells without asking: it is readable (or hung up) once
        # httpsniff has opened it, and that is when it captures.
        ready = f"{folder}/ready"
        os.mkfifo(ready)
        pipe = os.open(ready, os.O_RDONLY | os.O_NONBLOCK)
        command = [program, *arguments, "-o", "json", "-O", f"{folder}/out", "--ready-file", ready]
        begun = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        ended = os.pidfd_open(process.pid)
        poll = select.poll()
        poll.register(pipe, select.POLLIN | select.POLLHUP)
        poll.register(ended, select.POLLIN)
        events = dict(poll.poll(60_000))
        start = time.monotonic() - begun
        cpu = cpu_seconds(process.pid)
        os.close(pipe)
        if not events or ended in events:
            process.kill()
            sys.exit(f"bench: httpsniff did not start: {process.communicate()[1]}")
        time.sleep(0.1)
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        poll.poll(60_000)
        stop = time.monotonic() - begun
        os.close(ended)
        summary = process.communicate()[1]
        if process.returncode != 0:
            sys.exit(f"bench: httpsniff failed: {summary}")
        return start, cpu, stop


def row(name, figures):
    cells = []
    for start, cpu, stop in [zip(*figures)]:
        values = [statistics.median(start), max(start), statistics.median(cpu)]
        for value in [*values, statistics.median(stop), max(stop)]:
            cells.append(f"{value * 1000:>8.0f} ms")
    return f"{name:34}{''.join(cells)}"


def main():
    parser = argparse.ArgumentParser(description="how long beginning and stopping take")
    parser.add_argument("httpsniff", nargs="?", default="target/release/httpsniff")
    parser.add_argument("--processes", type=int, default=200)
    parser.add_argument("--copies", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench: capturing needs root: run `sudo make bench`")

    processes = []
    slow = False
    print(f"{'':34}{'start':>11}{'worst':>11}{'cpu':>11}{'stop':>11}{'worst':>11}")
    with tempfile.TemporaryDirectory(prefix="httpsniff-bench-") as folder:

        def case(name, extra):
            nonlocal slow
            # The first reads the files from the disk; it is not counted.
            measure(arguments.httpsniff, extra)
            figures = [measure(arguments.httpsniff, extra) for _ in range(arguments.rounds)]
            print(row(name, figures), flush=True)
            slow |= any(statistics.median(which) > LIMIT for which in zip(*figures))

        try:
            processes += start_sleepers(arguments.processes)
            settle(processes)
            case(f"one of {arguments.processes} processes", ["--pid", str(processes[-1].pid)])
            case("node", ["--pid", str(processes[0].pid)])
            case(f"{arguments.processes} processes", [])
            processes += start_copies(folder, arguments.copies)
            settle(processes)
            case(f"and {arguments.copies} copies of libssl", [])
        finally:
            for process in processes:
                process.kill()
                process.wait()
    if slow:
        print(f"bench: more than {LIMIT * 1000:.0f} ms", file=sys.stderr)


if __name__ == "__main__":
    main()
