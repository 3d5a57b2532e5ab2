#!/usr/bin/env python3
"""Measures forkpoint's rewind against pg_rewind's on the corpora that corpus.py made.

Every run gets a fresh copy of the target, written out to disk and in the page cache, as the source is. A round runs every
command once, each time in another order; every ratio is taken within a round, of wall times, and its median over the
rounds is printed. After each run the target is compared with what the first pg_rewind left: names, types, modes, owners,
links, bytes, but for the times in backup_label and in the control file.

Needs pg_rewind 17 or later for --sync-method. Exit status 1 where a "must" is missed or a result differs.
"""

import argparse
import collections
import hashlib
import os
import re
import shutil
import stat
import statistics
import subprocess
import sys
import tempfile
import time

from compare import MIB, Runner, read
from corpus import KINDS, find_bin, server_user

DEFAULT, SYNCFS = "pg_rewind", "pg_rewind --sync-method=syncfs"
DROPIN, UNDO = "forkpoint rewind --no-undo", "forkpoint rewind"
APPLY = "forkpoint plan, apply --no-undo"
# what pg_rewind leaves alone or forkpoint adds
OWN = ("forkpoint.state",)
Run = collections.namedtuple("Run", "wall cpu peak")


class Bench:
    """Starts programs on fresh copies of a target."""

    def __init__(self, runner, work):
        self.runner, self.work = runner, work
        self.target, self.plan = os.path.join(work, "target"), os.path.join(work, "plan.json")

    def clear(self):
        for name in os.listdir(self.work):
            self.remove(name)

    def remove(self, name):
        path = os.path.join(self.work, name)
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)

    def prepare(self, origin):
        """A fresh copy, all of which is on disk and in the page cache; nothing else waits to be written.

        Once there is one, only what a run changed is copied again: removing and making 50,000 files each time would leave
        the filesystem in another state every time."""
        for name in os.listdir(self.work):
            if name != "target":
                self.remove(name)
        if not os.path.exists(self.target):
            subprocess.run(["cp", "-a", "--reflink=never", origin, self.target], check=True)
        refresh(origin, self.target)
        for directory, _, names in os.walk(self.target):
            for name in names:
                read(os.path.join(directory, name))
        os.sync()

    def once(self, command):
        """Wall and CPU seconds and peak resident bytes of a program that a shell started, as compare.py says why."""
        log = open(os.path.join(self.work, "log"), "wb")
        began = time.monotonic()
        shell = self.runner.start(["/bin/sh", "-c", '"$@" &', "sh", *command], stdout=log, stderr=log)
        result = None
        while True:
            try:
                pid, status, usage = os.wait4(-1, 0)
            except ChildProcessError:
                break
            if pid == shell.pid:
                shell.returncode = 0
                continue
            result = Run(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
            if os.waitstatus_to_exitcode(status):
                log.close()
                with open(log.name, encoding="utf-8", errors="replace") as said:
                    sys.exit(f"{' '.join(command)} failed: {said.read()[-3000:]}")
        log.close()
        return result

    def run(self, commands):
        """One after the other, as one."""
        runs = [self.once(command) for command in commands]
        return Run(sum(r.wall for r in runs), sum(r.cpu for r in runs), max(r.peak for r in runs))


def phases(runner, command):
    """Wall seconds of pg_rewind's phases, by its own progress messages."""
    process = runner.start([*command, "--progress"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    marks, began = {}, time.monotonic()
    names = {b"reading source file list": "begin", b"reading WAL in target": "wal", b"need to copy": "copy",
             b"creating backup label": "label", b"syncing target": "sync"}
    for line in process.stderr:
        for text, name in names.items():
            if text in line:
                marks.setdefault(name, time.monotonic())
    process.wait()
    end = time.monotonic()
    return {"list": marks["wal"] - began, "wal": marks["copy"] - marks["wal"], "copy": marks["label"] - marks["copy"],
            "sync": end - marks["sync"], "all": end - began}


def listed(root):
    """All that tells a changed file from another, by path."""
    found = {}
    for directory, names, files in os.walk(root):
        for name in names + files:
            path = os.path.join(directory, name)
            meta = os.lstat(path)
            kind = stat.S_IFMT(meta.st_mode)
            more = {stat.S_IFREG: lambda: (meta.st_size, meta.st_mtime_ns), stat.S_IFLNK: lambda: os.readlink(path)}
            found[os.path.relpath(path, root)] = (kind, meta.st_mode, meta.st_uid, meta.st_gid, more.get(kind, tuple)())
    return found


def refresh(origin, copy):
    """Makes a copy what its origin is."""
    want, have = listed(origin), listed(copy)
    for path in sorted(have, reverse=True):
        if want.get(path) != have[path]:
            at = os.path.join(copy, path)
            if have[path][0] != stat.S_IFDIR:
                os.unlink(at)
            elif path not in want:
                os.rmdir(at)
    for path in sorted(want):
        if want[path] != have.get(path):
            kind, mode, uid, gid, _ = want[path]
            at, there = os.path.join(origin, path), os.path.join(copy, path)
            if kind == stat.S_IFLNK:
                os.symlink(os.readlink(at), there)
            elif kind == stat.S_IFREG:
                shutil.copyfile(at, there)
            else:
                os.makedirs(there, exist_ok=True)
            os.chown(there, uid, gid, follow_symlinks=False)
            if kind != stat.S_IFLNK:
                os.chmod(there, stat.S_IMODE(mode))
                meta = os.stat(at)
                os.utime(there, ns=(meta.st_atime_ns, meta.st_mtime_ns))


def snapshot(root):
    """What a rewind has to leave: by path, all that counts."""
    found = {}
    for directory, names, files in os.walk(root):
        for name in names + files:
            path = os.path.join(directory, name)
            meta = os.lstat(path)
            inside = os.path.relpath(path, root)
            if inside in OWN:
                continue
            content = ""
            if stat.S_ISLNK(meta.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(meta.st_mode):
                with open(path, "rb") as f:
                    data = f.read()
                if inside == "backup_label":
                    data = re.sub(rb"START TIME: .*", b"", data)
                elif inside == "global/pg_control":
                    # the time (pg_control.h: identifier, versions, state, padding, time) and the CRC
                    data = data[:24] + data[32:288]
                content = hashlib.blake2b(data).digest()
            found[inside] = (stat.S_IFMT(meta.st_mode), stat.S_IMODE(meta.st_mode), meta.st_uid, meta.st_gid, content)
    return found


def differences(ours, theirs):
    return sorted(path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path))


def ratio(runs, ours, theirs):
    """Median over the rounds and the spread."""
    all_of_them = [o.wall / t.wall for o, t in zip(runs[ours], runs[theirs])]
    return statistics.median(all_of_them), min(all_of_them), max(all_of_them)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default="/tmp/forkpoint-bench", help="where corpus.py put them (default: %(default)s)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="which of them (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: %(default)s)")
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--forkpoint", default=os.path.join(here, "..", "target", "release", "forkpoint"),
                        help="the program (default: the release build)")
    parser.add_argument("--major", type=int, default=17, help="major of the corpora (default: %(default)s)")
    parser.add_argument("--pg-root", help="directory with MAJOR/bin (default: $FORKPOINT_PG_ROOT, then the usual places)")
    parser.add_argument("--work", default="/tmp", help="where the copies go, on the filesystem to be measured (default: %(default)s)")
    args = parser.parse_args()
    user = server_user()
    bin_dir, runner = find_bin(args.major, args.pg_root), Runner(user)
    work = tempfile.mkdtemp(prefix="fpr.", dir=args.work)
    os.chmod(work, 0o755)
    inner = os.path.join(work, "work")
    os.mkdir(inner, 0o700)
    if user:
        os.chown(inner, user.pw_uid, user.pw_gid)
    program = os.path.join(work, "forkpoint")
    shutil.copy(args.forkpoint, program)
    try:
        sys.exit(measure(args, bin_dir, Bench(runner, inner), program))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def measure(args, bin_dir, bench, program):
    say = lambda *a: print(*a, flush=True)
    version = bench.runner.text([bin_dir + "/postgres", "--version"]).strip()
    say(f"{args.rounds} rounds, {len(os.sched_getaffinity(0))} CPUs, load {os.getloadavg()[0]:.1f}, {version}\n")
    rows, missed = [], 0
    for kind in args.kinds:
        corpus = os.path.join(args.corpus, kind)
        origin, source = os.path.join(corpus, "target"), os.path.join(corpus, "source")
        sides = ["--target-pgdata", bench.target, "--source-pgdata", source]
        theirs = [os.path.join(bin_dir, "pg_rewind"), *sides]
        plan = [program, "plan", bench.target, source, "--quiet", "-o", bench.plan]
        apply = [program, "apply", bench.plan, "--yes", "--quiet"]
        commands = {
            DEFAULT: [theirs],
            SYNCFS: [[*theirs, "--sync-method=syncfs"]],
            DROPIN: [[program, "rewind", *sides, "--no-undo"]],
            APPLY: [plan, [*apply, "--no-undo"]],
            UNDO: [[program, "rewind", *sides]],
        }
        for directory, _, names in os.walk(source):
            for name in names:
                read(os.path.join(directory, name))
        # how pg_rewind spends its time, and what it leaves
        bench.prepare(origin)
        count = sum(len(names) for _, _, names in os.walk(bench.target))
        spent = phases(bench.runner, [*theirs, "--sync-method=syncfs"])
        expected = snapshot(bench.target)
        wal_share = spent["wal"] / spent["all"]
        say(f"{kind}: {count:,} files; pg_rewind --sync-method=syncfs: " +
            ", ".join(f"{name} {seconds:.3f} s" for name, seconds in spent.items()))
        runs, differ = collections.defaultdict(list), {}
        names = list(commands)
        for number in range(args.rounds):
            # backwards every other time: who comes after whom changes too
            order = names[number % len(names):] + names[:number % len(names)]
            for name in order[::-1] if number % 2 else order:
                bench.prepare(origin)
                runs[name].append(bench.run(commands[name]))
                found = differences(snapshot(bench.target), expected)
                if found:
                    differ[name] = found
        bench.clear()
        for name in names:
            walls = [r.wall for r in runs[name]]
            say(f"  {name:34} {statistics.median(walls):7.3f} s wall ({min(walls):.3f} to {max(walls):.3f})"
                f"  {statistics.median(r.cpu for r in runs[name]):6.3f} s CPU"
                f"  {max(r.peak for r in runs[name]) / MIB:6.1f} MiB")
        say(f"  load {os.getloadavg()[0]:.1f}")
        for name, found in differ.items():
            say(f"  {name}: {len(found)} paths differ from pg_rewind's: {', '.join(found[:5])}")
            missed += 1

        def row(what, must, ours, theirs, limit):
            nonlocal missed
            middle, low, high = ratio(runs, ours, theirs)
            ok = limit is None or middle <= limit
            missed += not ok
            rows.append((f"{kind}: {what}", must, f"{middle:.2f} ({low:.2f} to {high:.2f})",
                         "" if limit is None else "ok" if ok else "MISSED"))

        for ours in (DROPIN, APPLY):
            if kind == "files":
                row(f"`{ours}` against `{DEFAULT}`", "0.10", ours, DEFAULT, 0.10)
                row(f"`{ours}` against `{SYNCFS}`", "1.10", ours, SYNCFS, 1.10)
            else:
                limit = 0.60 if wal_share > 0.5 else None
                must = f"0.60 (WAL is {wal_share:.0%})" if limit else f"none (WAL is {wal_share:.0%})"
                row(f"`{ours}` against `{DEFAULT}`", must, ours, DEFAULT, limit)
                row(f"`{ours}` against `{SYNCFS}`", must, ours, SYNCFS, limit)
        row(f"with the undo store, `{UNDO}`, against without, `{DROPIN}`", "2.00", UNDO, DROPIN, 2.0)
    say("\n| wall time | at most | here | |")
    say("|---|---|---|---|")
    for cells in rows:
        say(f"| {' | '.join(cells)} |")
    return 1 if missed else 0


if __name__ == "__main__":
    main()
