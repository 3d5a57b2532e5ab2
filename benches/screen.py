#!/usr/bin/env python3
"""Measures the screen in a pseudo-terminal, over one corpus: the first frame, keys while records are counted, memory.

Printed are the time to the first frame, the times from a key to what it changes on the screen (the 99th percentile) while
the diagnosis or the records view reads WAL, and the peak of the resident memory after going through the list. Exit status
1 where the first frame takes longer than 100 ms, a key longer than 50 ms, or the memory is 200 MB or more.
"""

import argparse
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

FRAME, KEY, MEMORY = 0.100, 0.050, 200e6


class Screen:
    def __init__(self, command, columns, rows):
        self.began = time.monotonic()
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", LC_ALL="C.UTF-8")
            os.execv(command[0], command)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.seen = b""

    def more(self, patience):
        """Takes what the program wrote; False after `patience` without anything."""
        if not select.select([self.terminal], [], [], patience)[0]:
            return False
        try:
            self.seen += os.read(self.terminal, 1 << 16)
        except OSError:
            sys.exit(f"the program ended: {self.seen[-500:]!r}")
        self.seen = self.seen[-(1 << 18):]
        return True

    def wait(self, text, patience):
        """Waits for a text; seconds, or None."""
        began = time.monotonic()
        while text not in self.seen:
            left = began + patience - time.monotonic()
            if left <= 0 or not self.more(left):
                return None
        return time.monotonic() - began

    def drain(self, patience):
        """Waits until nothing comes for so long."""
        while self.more(patience):
            pass
        self.seen = b""

    def send(self, keys):
        os.write(self.terminal, keys)

    def key(self, keys, text):
        """Seconds from a key to a text that only it brings."""
        self.seen = b""
        self.send(keys)
        took = self.wait(text, 5)
        return took if took is not None else 5.0

    def memory(self):
        with open(f"/proc/{self.pid}/status") as status:
            for line in status:
                if line.startswith("VmHWM"):
                    return int(line.split()[1]) * 1024
        return 0


def percentile(took, share):
    took = sorted(took)
    return took[min(len(took) - 1, int(len(took) * share))]




def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="a directory with target/ and source/, as corpus.py makes them")
    parser.add_argument("--forkpoint", default="target/release/forkpoint")
    parser.add_argument("--columns", type=int, default=120)
    parser.add_argument("--rows", type=int, default=40)
    args = parser.parse_args()
    sides = [os.path.join(args.corpus, "target"), os.path.join(args.corpus, "source")]
    screen = Screen([os.path.abspath(args.forkpoint), *sides], args.columns, args.rows)
    screen.wait(b"Overview", 10)
    first = time.monotonic() - screen.began
    if screen.wait(b"findings", 600) is None:
        sys.exit("there is no diagnosis after ten minutes")
    diagnosed = time.monotonic() - screen.began
    screen.drain(0.3)
    print(f"first frame after {first * 1000:.0f} ms, diagnosis after {diagnosed:.2f} s")

    screen.seen = b""
    screen.send(b"5")
    began = time.monotonic()
    screen.wait(b"description", 10)
    # behind the line of the divergence
    screen.send(b"jjj")
    screen.drain(0.05)
    took = []
    while True:
        # nothing else brings the sign of a mark, and a letter that is typed
        screen.send(b"j")
        screen.more(0.02)
        took.append(screen.key(b"m", "◆".encode()))
        screen.send(b"m:")
        screen.more(0.02)
        took.append(screen.key(b"Z", b"Z"))
        screen.send(b"\x03")
        # while work runs, its figures change all the time
        while screen.more(0.03):
            pass
        if not screen.more(0.25):
            break
    counted = time.monotonic() - began
    print(f"records counted after {counted:.2f} s; {len(took)} keys meanwhile: "
          f"median {percentile(took, 0.5) * 1000:.1f} ms, 99 % {percentile(took, 0.99) * 1000:.1f} ms")

    moves = []
    for keys in [b"G", b"g"] * 10 + [b"\x1b[6~"] * 200 + [b"G"] + [b"\x1b[5~"] * 200 + [b"g"] + [b"j"] * 200:
        screen.seen = b""
        began = time.monotonic()
        screen.send(keys)
        screen.more(0.5)
        moves.append(time.monotonic() - began)
        screen.drain(0.01)
    memory = screen.memory()
    print(f"{len(moves)} moves through the list: 99 % {percentile(moves, 0.99) * 1000:.1f} ms; "
          f"peak memory {memory / 1e6:.0f} MB")
    screen.send(b"q")
    os.waitpid(screen.pid, 0)
    return first > FRAME or percentile(took, 0.99) > KEY or memory >= MEMORY


if __name__ == "__main__":
    sys.exit(main())
