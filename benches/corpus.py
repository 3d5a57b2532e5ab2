#!/usr/bin/env python3
"""Makes the corpora that compare.py measures on, with a real server and pgbench.

Every corpus is a pair of data directories:

    DEST/KIND/target   timeline 1, cleanly stopped, with --size GB of WAL after the fork
    DEST/KIND/source   timeline 2, promoted at the fork, cleanly stopped

    oltp    pgbench's TPC-B, checksums and full_page_writes on, checkpoints in between: most WAL is page images
    bulk    COPY, btree, hash, gin, gist and brin builds, deletes, vacuum
    small   full_page_writes off: nothing but short records
    files   two trees of 50,000 files each, hardly any WAL

No record is made up; what the files hold is what the server wrote. Needs Python 3.9 and a whole installation of
PostgreSQL 13 or later. As root, the servers run as `postgres` or `nobody`.
"""

import argparse
import glob
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time

KINDS = ("oltp", "bulk", "small", "files")
ROOTS = ("/opt/pg-peers", "/usr/lib/postgresql")

COMMON = {
    "listen_addresses": "",
    "port": "55017",
    "fsync": "off",
    "synchronous_commit": "off",
    "shared_buffers": "512MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "64GB",
    "checkpoint_timeout": "1h",
    "wal_keep_size": "64GB",
    "wal_level": "replica",
    "wal_compression": "off",
    "hot_standby": "off",
    "logging_collector": "off",
    "max_parallel_maintenance_workers": "0",
    "jit": "off",
}


def find_bin(major, root):
    """The directory with the programs of `major`."""
    roots = [root] if root else [os.environ.get("FORKPOINT_PG_ROOT"), *ROOTS]
    for base in filter(None, roots):
        path = os.path.join(base, str(major), "bin")
        if os.path.exists(os.path.join(path, "pg_rewind")):
            return path
    sys.exit(f"no whole installation of PostgreSQL {major} under {', '.join(filter(None, roots))}")


def server_user():
    """Whom to run servers as: nobody else, unless this is root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            pass
    sys.exit("root, and neither `postgres` nor `nobody` exists")


class Server:
    """One data directory and the programs that work on it."""

    def __init__(self, bin_dir, data, socket_dir, user):
        self.bin, self.data, self.sockets, self.user = bin_dir, data, socket_dir, user

    def run(self, program, *args, text=None, check=True):
        kwargs = {}
        if self.user:
            kwargs = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        env = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        env |= {"LC_ALL": "C", "TZ": "UTC", "HOME": self.sockets}
        done = subprocess.run([os.path.join(self.bin, program), *args], input=text, text=True, env=env, cwd="/",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **kwargs)
        if check and done.returncode:
            sys.exit(f"{program} {' '.join(args)}: {done.stdout[-2000:]}")
        return done.stdout

    def init(self, checksums):
        args = ["-D", self.data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"]
        major = int(self.run("postgres", "--version").split()[2].split(".")[0].split("r")[0].split("b")[0])
        if checksums:
            args.append("--data-checksums")
        elif major >= 18:
            args.append("--no-data-checksums")
        self.run("initdb", *args)

    def configure(self, settings):
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as conf:
            for name, value in settings.items():
                conf.write(f"{name} = '{value}'\n")

    def start(self):
        self.run("pg_ctl", "-D", self.data, "-w", "-t", "600", "-o", f"-k {self.sockets}",
                 "-l", os.path.join(self.sockets, "log"), "start")

    def stop(self):
        self.run("pg_ctl", "-D", self.data, "-w", "-t", "600", "-m", "fast", "stop")

    def sql(self, text, database="postgres"):
        return self.run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.sockets, "-p", COMMON["port"],
                        "-U", "postgres", "-d", database, "-f", "-", text=text).strip()

    def pgbench(self, *args):
        return self.run("pgbench", "-h", self.sockets, "-p", COMMON["port"], "-U", "postgres", *args, "postgres")

    def written(self, since):
        """Bytes of WAL since `since`."""
        return int(self.sql(f"SELECT (pg_current_wal_insert_lsn() - '{since}')::bigint"))


def fork(target, source, user):
    """Stops `target`, copies it, promotes the copy to timeline 2 and starts the target again on timeline 1."""
    target.stop()
    subprocess.run(["cp", "-a", target.data, source.data], check=True)
    signal = os.path.join(source.data, "standby.signal")
    with open(signal, "w", encoding="utf-8"):
        pass
    if user:
        os.chown(signal, user.pw_uid, user.pw_gid)
    source.start()
    source.run("pg_ctl", "-D", source.data, "-w", "-t", "600", "promote")
    source.sql("CREATE TABLE written_on_the_new_primary AS SELECT generate_series(1, 1000) AS i; CHECKPOINT")
    source.stop()
    target.start()
    return target.sql("SELECT pg_current_wal_insert_lsn()")


def oltp(target, source, user, size):
    scale = max(2, round(size * 40))
    target.pgbench("-i", "-q", "-s", str(scale))
    since = fork(target, source, user)
    written = 0
    while written < size * 1e9:
        target.sql("CHECKPOINT")
        target.pgbench("-n", "-c", "8", "-j", "2", "-M", "prepared", "-t", str(max(200, round(size * 4000))))
        written = target.written(since)


ROUND_OF_BULK = """
COPY (SELECT i, md5(i::text), (i * 7919::bigint) % {rows}, ARRAY[i % 1000, i % 777, i % 31], point(i % 3001, i % 2003),
             now() + i * interval '1 s'
      FROM generate_series(1, {rows}) i) TO '{file}';
CREATE TABLE bulk_{n} (id int, t text, k int, tags int[], place point, at timestamptz);
COPY bulk_{n} FROM '{file}';
CREATE INDEX ON bulk_{n} USING btree (id);
CREATE INDEX ON bulk_{n} USING btree (t);
CREATE INDEX ON bulk_{n} USING hash (k);
CREATE INDEX ON bulk_{n} USING gin (tags);
CREATE INDEX ON bulk_{n} USING gist (place);
CREATE INDEX ON bulk_{n} USING brin (at);
DELETE FROM bulk_{n} WHERE k % 10 = 3;
VACUUM bulk_{n};
INSERT INTO bulk_{n} SELECT i, 'again', i, ARRAY[i % 5], point(i % 7, i % 11), now() FROM generate_series(1, {rows} / 50) i;
UPDATE bulk_{n} SET k = k + 1 WHERE id % 25 = 0;
CHECKPOINT;
"""


def bulk(target, source, user, size):
    target.sql("CREATE TABLE before_the_fork AS SELECT generate_series(1, 100000) AS i")
    since = fork(target, source, user)
    rows = max(10_000, round(min(size, 1) * 300_000))
    n = written = 0
    while written < size * 1e9:
        n += 1
        file = os.path.join(target.sockets, "rows")
        target.sql(ROUND_OF_BULK.format(n=n, rows=rows, file=file))
        if n > 2:
            target.sql(f"DROP TABLE bulk_{n - 2}")
        written = target.written(since)


SMALL = """
\\set at random(1, {rows} - 400)
\\set new random(1, 1000000000)
UPDATE small SET v = v + 1 WHERE id BETWEEN :at AND :at + 150;
UPDATE small SET v = v - 1 WHERE id BETWEEN :at + 150 AND :at + 300;
INSERT INTO narrow SELECT :new + i FROM generate_series(1, 60) i;
DELETE FROM narrow WHERE i BETWEEN :new AND :new + 40;
"""


def small(target, source, user, size):
    rows = max(20_000, round(min(size, 1) * 1_000_000))
    target.sql(f"CREATE TABLE small (id int PRIMARY KEY, v int) WITH (fillfactor = 70);"
               f"INSERT INTO small SELECT i, 0 FROM generate_series(1, {rows}) i;"
               f"CREATE TABLE narrow (i int); CREATE INDEX ON narrow (i); VACUUM small; CHECKPOINT")
    since = fork(target, source, user)
    script = os.path.join(target.sockets, "script")
    with open(script, "w", encoding="utf-8") as f:
        f.write(SMALL.format(rows=rows))
    os.chmod(script, 0o644)
    written = 0
    while written < size * 1e9:
        target.pgbench("-n", "-c", "4", "-j", "2", "-M", "prepared", "-f", script, "-t", str(max(50, round(size * 1000))))
        written = target.written(since)
    # pg_rewind wants checksums or wal_log_hints; either would have logged whole pages for hint bits. So it comes last.
    target.stop()
    target.configure({"wal_log_hints": "on"})
    target.start()
    target.sql("INSERT INTO narrow VALUES (1)")


def files(target, source, user, size):
    tables = max(250, round(12_500 * min(size, 1)))  # a table, its key, its toast table and that one's index
    for first in range(0, tables, 500):
        target.sql("".join(f"CREATE TABLE t{i} (id int PRIMARY KEY, t text);"
                           for i in range(first, min(first + 500, tables))))
    fork(target, source, user)
    target.sql("".join(f"INSERT INTO t{i} VALUES (1, 'one');" for i in range(0, tables, 100)))


SETTINGS = {
    "oltp": ({"full_page_writes": "on"}, True),
    "bulk": ({"full_page_writes": "on"}, True),
    "small": ({"full_page_writes": "off", "wal_log_hints": "off", "autovacuum_naptime": "10s"}, False),
    "files": ({"full_page_writes": "on", "autovacuum": "off"}, True),
}


def make(kind, args, bin_dir, user):
    dest = os.path.join(args.dest, kind)
    if os.path.exists(os.path.join(dest, "corpus.json")) and not args.force:
        print(f"{kind}: there already")
        return
    shutil.rmtree(dest, ignore_errors=True)
    os.makedirs(dest)
    sockets = tempfile.mkdtemp(prefix="fpb.", dir="/tmp")
    if user:
        os.chown(dest, user.pw_uid, user.pw_gid)
        os.chown(sockets, user.pw_uid, user.pw_gid)
    target = Server(bin_dir, os.path.join(dest, "target"), sockets, user)
    source = Server(bin_dir, os.path.join(dest, "source"), sockets, user)
    began = time.monotonic()
    settings, checksums = SETTINGS[kind]
    try:
        target.init(checksums)
        target.configure(COMMON | settings)
        target.start()
        globals()[kind](target, source, user, args.size)
        target.stop()
    finally:
        for server in (target, source):
            if os.path.exists(os.path.join(server.data, "postmaster.pid")):
                server.run("pg_ctl", "-D", server.data, "-m", "immediate", "stop", check=False)
        shutil.rmtree(sockets, ignore_errors=True)
    wal = sum(os.path.getsize(f) for f in glob.glob(os.path.join(target.data, "pg_wal", "0*")))
    with open(os.path.join(dest, "corpus.json"), "w", encoding="utf-8") as f:
        json.dump({"kind": kind, "size": args.size, "bin": bin_dir, "server": target.run("postgres", "--version").strip()}, f)
    print(f"{kind}: {wal / 1e9:.2f} GB of WAL, {time.monotonic() - began:.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"{', '.join(KINDS)} (default: all)")
    parser.add_argument("--dest", default="/tmp/forkpoint-bench", help="where to put them (default: %(default)s)")
    parser.add_argument("--major", type=int, default=17, help="PostgreSQL's major (default: %(default)s)")
    parser.add_argument("--pg-root", help="directory with MAJOR/bin (default: $FORKPOINT_PG_ROOT, then the usual places)")
    parser.add_argument("--size", type=float, default=1.1, help="GB of WAL after the fork (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="0.03 GB each: to try the scripts, not to measure")
    parser.add_argument("--force", action="store_true", help="make them anew")
    args = parser.parse_args()
    args.size = 0.03 if args.quick else args.size
    wrong = set(args.kinds) - set(KINDS)
    if wrong:
        parser.error(f"no such kind: {', '.join(sorted(wrong))}")
    bin_dir, user = find_bin(args.major, args.pg_root), server_user()
    os.makedirs(args.dest, exist_ok=True)
    os.chmod(args.dest, 0o755)
    for kind in args.kinds or KINDS:
        make(kind, args, bin_dir, user)


if __name__ == "__main__":
    main()
