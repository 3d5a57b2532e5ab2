#!/usr/bin/env python3
"""Measures forkpoint against pg_waldump and pg_rewind on the corpora that corpus.py made.

All in one run, page cache warm. A round runs every command once, each time in another order; CPU seconds (user and
system) come from the kernel's accounts of the process; every ratio is taken within a round and its median over the
rounds is printed. Wall times say something only while two cores are free.

Exit status 1 where a "must" is missed.
"""

import argparse
import collections
import ctypes
import glob
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from corpus import KINDS, find_bin, server_user

WAL_KINDS = ("oltp", "bulk", "small")
MIB = 1 << 20
Sample = collections.namedtuple("Sample", "cpu wall")


class Runner:
    """Starts programs as the user whom the corpora belong to, and keeps account of them."""

    def __init__(self, user):
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C", "NO_COLOR": "1"}
        self.who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
        # orphans come here, see peak()
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)

    def start(self, command, **kwargs):
        return subprocess.Popen(command, env=self.env, cwd="/", stdin=subprocess.DEVNULL, **self.who, **kwargs)

    def time(self, command):
        """CPU and wall seconds."""
        began = time.monotonic()
        process = self.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"status {process.returncode}: {' '.join(command)}")
        return Sample(usage.ru_utime + usage.ru_stime, wall)

    def peak(self, command):
        """Peak resident bytes. A child inherits its parent's peak until it runs another program, and this is a large
        parent; so a shell starts it and goes away, and the kernel hands it over."""
        shell = self.start(["/bin/sh", "-c", '"$@" >/dev/null 2>&1 &', "sh", *command])
        peak = None
        while True:
            try:
                pid, status, usage = os.wait4(-1, 0)
            except ChildProcessError:
                return peak
            if pid == shell.pid:
                shell.returncode = 0
            elif os.waitstatus_to_exitcode(status):
                sys.exit(f"{' '.join(command)} failed")
            else:
                peak = usage.ru_maxrss * 1024

    def text(self, command):
        process = self.start(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return process.communicate()[0].decode(errors="replace")


class Corpus:
    """A pair of directories and the range that is read."""

    def __init__(self, path, runner, bin_dir):
        self.target, self.source = os.path.join(path, "target"), os.path.join(path, "source")
        said = runner.text(self.pg_rewind(bin_dir))
        found = re.search(r"last common checkpoint at ([0-9A-F]+/[0-9A-F]+) on timeline (\d+)", said)
        if not found:
            sys.exit(f"{path}: pg_rewind says {said}")
        self.start, self.timeline = found.groups()
        said = runner.text(self.pg_waldump(bin_dir, "--quiet", end=None))
        found = re.search(r"error in WAL record at [^:]*: .* at ([0-9A-F]+/[0-9A-F]+)", said)
        if not found:
            sys.exit(f"{path}: pg_waldump says {said}")
        self.end = found.group(1)
        self.bytes = lsn(self.end) - lsn(self.start)

    def pg_waldump(self, bin_dir, *options, end="known"):
        command = [os.path.join(bin_dir, "pg_waldump"), *options, "-p", os.path.join(self.target, "pg_wal"),
                   "-t", self.timeline, "-s", self.start]
        return command + ([] if end is None else ["-e", self.end])

    def waldump(self, program, threads):
        return [program, "waldump", "--threads", str(threads), "-p", os.path.join(self.target, "pg_wal"),
                "-t", self.timeline, "-s", self.start, "-e", self.end]

    def pg_rewind(self, bin_dir, *options):
        return [os.path.join(bin_dir, "pg_rewind"), "--dry-run", *options, "--target-pgdata", self.target,
                "--source-pgdata", self.source]

    def warm(self):
        """Reads everything anew, WAL last and twice.

        Where it may, it empties the page cache first: how fast the kernel copies from the cache depends on the pieces of
        memory in which the files happen to lie, which is another matter after hours of other work."""
        os.sync()
        try:
            with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
                f.write("3")
        except OSError:
            print("page cache not emptied: no permission")
        wal = []
        for root in (self.target, self.source):
            for directory, _, names in os.walk(root):
                (wal if directory.endswith("pg_wal") else [read(os.path.join(directory, n)) for n in names]).extend(
                    os.path.join(directory, n) for n in names)
        for path in wal * 2:
            read(path)


def read(path):
    try:
        with open(path, "rb", buffering=0) as f:
            while f.read(1 << 20):
                pass
    except OSError:
        pass


def lsn(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def measure(runner, commands, rounds):
    """`rounds` samples of every command, interleaved."""
    names = list(commands)
    samples = {name: [] for name in names}
    for number in range(rounds + 1):
        order = names[number % len(names):] + names[:number % len(names)]
        for name in order:
            sample = runner.time(commands[name])
            if number:  # the first round only warms
                samples[name].append(sample)
    return samples


def ratio(samples, theirs, ours, what="cpu"):
    """How many times as fast: median over the rounds."""
    return statistics.median(max(getattr(t, what), 1e-4) / max(getattr(o, what), 1e-4)
                             for t, o in zip(samples[theirs], samples[ours]))


def middle(samples, name, what="cpu"):
    return statistics.median(getattr(s, what) for s in samples[name])


def listing_phase(runner, corpus, bin_dir, rounds):
    """Wall seconds from "reading source file list" to "reading WAL in target"."""
    times = []
    for _ in range(rounds):
        process = runner.start(corpus.pg_rewind(bin_dir, "--progress"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        begin = end = None
        for line in process.stderr:
            now = time.monotonic()
            if b"reading source file list" in line:
                begin = now
            elif b"reading WAL in target" in line:
                end = now
        process.wait()
        times.append(end - begin)
    return statistics.median(times)


def allowance(report, threads):
    """What is allowed: 16 MiB, 4 MiB a thread, 8 KiB per 65,536 blocks with a change, 64 bytes a transaction."""
    chunks = 0
    for relation in report["target_changes"]["relations"]:
        for when in ("before", "after"):
            ranges = (relation[when] or {}).get("ranges", [])
            chunks += len({c for first, last in ranges for c in range(first >> 16, (last >> 16) + 1)})
    return 16 * MIB + threads * 4 * MIB + chunks * 8192 + 64 * len(report["transactions"])


class Table:
    """The table of the goals; remembers what was missed."""

    def __init__(self):
        self.rows, self.missed = [], 0

    def add(self, what, must, aim, measured, ok):
        self.missed += not ok
        self.rows.append((what, must, aim, measured, "ok" if ok else "MISSED"))

    def show(self):
        print("| measured (CPU time unless wall is said) | must | aim | here | |")
        print("|---|---|---|---|---|")
        for row in self.rows:
            print(f"| {' | '.join(row)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default="/tmp/forkpoint-bench", help="where corpus.py put them (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds (default: %(default)s)")
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--forkpoint", default=os.path.join(here, "..", "target", "release", "forkpoint"),
                        help="the program (default: the release build)")
    parser.add_argument("--major", type=int, default=17, help="major of the corpora (default: %(default)s)")
    parser.add_argument("--pg-root", help="directory with MAJOR/bin (default: $FORKPOINT_PG_ROOT, then the usual places)")
    parser.add_argument("--markdown-only", action="store_true", help="the table, and nothing of what it is made of")
    args = parser.parse_args()
    bin_dir, runner = find_bin(args.major, args.pg_root), Runner(server_user())
    say = (lambda *_: None) if args.markdown_only else (lambda *a: print(*a, flush=True))

    # where the corpora's user can reach it
    scratch = tempfile.mkdtemp(prefix="fpb.", dir="/tmp")
    os.chmod(scratch, 0o755)
    program = os.path.join(scratch, "forkpoint")
    shutil.copy(args.forkpoint, program)
    try:
        sys.exit(compare(args, bin_dir, runner, program, say))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def compare(args, bin_dir, runner, program, say):
    paths = {k: os.path.join(args.corpus, k) for k in KINDS if os.path.exists(os.path.join(args.corpus, k, "corpus.json"))}
    if not paths:
        sys.exit(f"no corpora in {args.corpus}: run corpus.py")
    corpora = {k: Corpus(p, runner, bin_dir) for k, p in paths.items()}
    cpus = len(os.sched_getaffinity(0))
    say(f"{args.rounds} rounds, {cpus} CPUs, load {os.getloadavg()[0]:.1f}, {runner.text([bin_dir + '/postgres', '--version']).strip()}\n")

    results, memory = {}, {}
    for kind, corpus in corpora.items():
        corpus.warm()
        blocks = [program, "blocks", corpus.target, corpus.source, "--quiet", "--format", "json", "--threads"]
        report = [program, "report", corpus.target, corpus.source, "--quiet", "--no-source-wal", "--threads"]
        commands = {
            "pg_rewind --dry-run": corpus.pg_rewind(bin_dir),
            "report, 1 thread": [*report, "1"],
            "report as JSON, 1 thread": [*report, "1", "--format", "json"],
        }
        if kind != "files":
            commands |= {
                "pg_waldump --quiet": corpus.pg_waldump(bin_dir, "--quiet"),
                "pg_waldump --stats": corpus.pg_waldump(bin_dir, "--stats"),
                "blocks, 1 thread": [*blocks, "1"],
                "blocks, 2 threads": [*blocks, "2"],
                "report, 2 threads": [*report, "2"],
                "pg_waldump": corpus.pg_waldump(bin_dir),
                "waldump, 1 thread": corpus.waldump(program, 1),
                "waldump, 2 threads": corpus.waldump(program, 2),
            }
        results[kind] = measure(runner, commands, args.rounds)
        memory[kind] = {n: runner.peak([*report, str(n)]) for n in (1, 2)} | {"blocks": runner.peak([*blocks, "1"])}
        say(f"{kind}: {corpus.bytes / 1e9:.2f} GB of WAL from {corpus.start} to {corpus.end}")
        for name in commands:
            cpu, wall = middle(results[kind], name), middle(results[kind], name, "wall")
            spread = [s.cpu for s in results[kind][name]]
            say(f"  {name:28} {cpu:7.3f} s CPU ({min(spread):.3f} to {max(spread):.3f})  {wall:7.3f} s wall"
                f"  {corpus.bytes / cpu / 1e9:6.2f} GB/CPU s")
        say(f"  peak memory: report {memory[kind][1] / MIB:.1f} MiB, with 2 threads {memory[kind][2] / MIB:.1f} MiB,"
            f" blocks {memory[kind]['blocks'] / MIB:.1f} MiB\n")

    table, kinds = Table(), [k for k in WAL_KINDS if k in corpora]

    def versus(what, must, aim, theirs, ours, needed, measured="cpu"):
        ratios = {k: ratio(results[k], theirs, ours, measured) for k in kinds}
        table.add(what, must, aim, ", ".join(f"{k} {r:.2f}" for k, r in ratios.items()),
                  all(r >= needed.get(k, needed[""]) for k, r in ratios.items()))

    if kinds:
        versus("changed blocks with every CRC checked, one thread, against `pg_waldump --quiet` over the same range",
               "1.6 times as fast", "over 2 times", "pg_waldump --quiet", "blocks, 1 thread", {"": 1.6})
        versus("the whole report (blocks, relations, transactions, findings), one thread, against `pg_waldump --stats`",
               "1.4 times", "over 1.8 times", "pg_waldump --stats", "report, 1 thread", {"": 1.4})
        wall = {k: 1 / ratio(results[k], "report, 1 thread", "report, 2 threads", "wall") for k in kinds}
        cpu = {k: 1 / ratio(results[k], "report, 1 thread", "report, 2 threads") for k in kinds}
        scan = {k: 1 / ratio(results[k], "blocks, 1 thread", "blocks, 2 threads", "wall") for k in kinds}
        speed = {k: ratio(results[k], "pg_waldump --quiet", "blocks, 2 threads", "wall") for k in kinds}
        table.add("two threads against one, two cores free", "0.60 of the wall time, 1.10 of the CPU time",
                  "4 times pg_waldump's speed by the wall",
                  "; ".join(f"{k} wall {wall[k]:.2f} (blocks {scan[k]:.2f}), CPU {cpu[k]:.2f}, {speed[k]:.1f} times pg_waldump"
                            for k in kinds),
                  all(wall[k] <= 0.60 and cpu[k] <= 1.10 for k in kinds))
        versus("record lines, one thread, against `pg_waldump`",
               "4 times as fast", "over 6 times", "pg_waldump", "waldump, 1 thread", {"": 4})
        lines = {k: ratio(results[k], "pg_waldump", "waldump, 2 threads", "wall") for k in kinds}
        single = {k: ratio(results[k], "pg_waldump", "waldump, 1 thread", "wall") for k in kinds}
        table.add("record lines, two threads by the wall, two cores free", "more than one thread", "10 times pg_waldump",
                  ", ".join(f"{k} {lines[k]:.2f} (one thread {single[k]:.2f})" for k in kinds),
                  all(lines[k] > single[k] for k in kinds))
        versus("the report over the target's range against `pg_rewind --dry-run`",
               "4 times (2.5 where full-page images are most of the WAL)", "over 5 times", "pg_rewind --dry-run",
               "report, 1 thread", {"": 4, "oltp": 2.5})
    if "files" in corpora:
        corpus = corpora["files"]
        count = sum(len(n) for _, _, n in os.walk(corpus.target))
        phase = listing_phase(runner, corpus, bin_dir, args.rounds)
        took = middle(results["files"], "report, 1 thread", "wall")
        times = ratio(results["files"], "pg_rewind --dry-run", "report, 1 thread")
        table.add(f"listing both trees with {count:,} files each", "not slower than pg_rewind", "",
                  f"whole report against the whole of `pg_rewind --dry-run` {times:.2f} times as fast; wall {took:.3f} s"
                  f" against {phase:.3f} s that pg_rewind lists", times >= 1)
    cells, ok = [], True
    for kind in corpora:
        command = [program, "report", corpora[kind].target, corpora[kind].source, "--quiet", "--no-source-wal", "--format", "json"]
        report = json.loads(runner.text(command))
        limits = {n: allowance(report, n) for n in (1, 2)}
        ok &= all(memory[kind][n] <= limits[n] for n in (1, 2))
        cells.append(f"{kind} {memory[kind][1] / MIB:.0f} of {limits[1] / MIB:.0f}, 2 threads {memory[kind][2] / MIB:.0f} of"
                     f" {limits[2] / MIB:.0f} MiB")
    table.add("peak memory", "16 MiB, 4 MiB a thread, 8 KiB per 65,536 blocks in which a block changed, 64 bytes a transaction",
              "", "; ".join(cells), ok)
    table.show()
    return 1 if table.missed else 0


if __name__ == "__main__":
    main()
