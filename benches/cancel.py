#!/usr/bin/env python3
"""Measures how long `forkpoint report` goes on after SIGINT.

Every run gets the signal at another moment of the report, evenly spread; printed is the time from the signal to the end
of the process. Exit status 1 where one run took longer than 100 ms or ended with another status than 130.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import time

LIMIT = 0.100


def start(command):
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="a directory with target/ and source/, as corpus.py makes them")
    parser.add_argument("--forkpoint", default="target/release/forkpoint")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    command = [args.forkpoint, "report", "--quiet", "--threads", str(args.threads),
               os.path.join(args.corpus, "target"), os.path.join(args.corpus, "source")]
    if start(command).wait() != 0:  # warms the page cache
        sys.exit(f"{' '.join(command)} failed")
    began = time.monotonic()
    start(command).wait()
    whole = time.monotonic() - began
    took, late = [], 0
    for run in range(args.runs):
        # not before the handlers are there, which takes a few milliseconds
        moment = 0.02 + (whole * 0.95 - 0.02) * run / max(args.runs - 1, 1)
        process = start(command)
        time.sleep(moment)
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        status = process.wait()
        after = time.monotonic() - sent
        if status == 0:
            late += 1  # it was done
            continue
        if status != 130:
            sys.exit(f"status {status} after SIGINT at {moment:.3f} s")
        took.append((after, moment))
    if not took:
        sys.exit("the report is too short to be interrupted: give a larger corpus")
    worst, moment = max(took)
    middle = statistics.median(t for t, _ in took)
    print(f"report {whole:.2f} s, {len(took)} interrupted ({late} were done): "
          f"end after {middle * 1000:.1f} ms (median), {worst * 1000:.1f} ms at most (signal at {moment:.2f} s); "
          f"must be {LIMIT * 1000:.0f} ms")
    return worst > LIMIT


if __name__ == "__main__":
    sys.exit(main())
