#!/usr/bin/env python3
"""Captures the pairs of data directories under testdata/ from real PostgreSQL servers.

    python3 testdata/capture.py [--pg-root DIR] [--scratch DIR] [--out DIR] [SCENARIO...]
    python3 testdata/capture.py --list

Every scenario starts its own servers, breaks a cluster in one certain way, asks the servers by SQL
what is true, stops them and writes OUT/<scenario>/:

    pair.tar.zst   the directories (target/, source/, archive/, ...); unpack with `tar --zstd -xf`
    truth.json     what SQL said while the servers ran; nothing in it was read from a data file
    *.txt, waldump-target.*   what the major's own programs print about the unpacked pair

--pg-root (or FORKPOINT_PG_ROOT; default /opt/pg-peers) holds <major>/bin/{initdb,pg_ctl,postgres}.
The programs' outputs are written where a major has pg_controldata, pg_rewind and pg_waldump as well.
--scratch is where the servers run (default: a new temporary directory). Its path becomes /srv/pg in
every text file; a few WAL records (tablespaces) keep it, so `--scratch /srv/pg` is the cleanest.
--out defaults to this file's directory.

Needs Linux, Python 3.9+, GNU tar, zstd, and gzip, xz and lz4 for recycled-archive. Servers refuse to
run as root: started by root, they run as the user named by FORKPOINT_PG_USER (default postgres).
Servers use Unix sockets only; two or three run at a time. A second capture differs from the first in
identifiers, times and positions, not in what it shows.
"""

import argparse
import glob
import json
import os
import pwd
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

PG_ROOT = os.environ.get("FORKPOINT_PG_ROOT", "/opt/pg-peers")
PG_USER = os.environ.get("FORKPOINT_PG_USER", "postgres")
PUBLIC_ROOT = "/srv/pg"  # what the scratch directory is called in the results
DEFAULT_MAJOR = 18
FULL = {18}  # basic-N with an untouched initdb; everything else has a slim one to save space


# ---------------------------------------------------------------- running programs

def as_server_user():
    """Arguments for subprocess that drop root's rights."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(PG_USER)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def run(argv, check=True, cwd=None, **env):
    """Runs a program as the server's user; returns the finished process with text output."""
    done = subprocess.run([str(a) for a in argv], cwd=cwd, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env={"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC", **env}, **as_server_user())
    if check and done.returncode != 0:
        raise RuntimeError(f"{argv}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def write_file(path, text, mode=0o600):
    """Writes a text file owned by the owner of its directory."""
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, mode)
    owner = os.stat(os.path.dirname(path))
    if os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid)


def make_dir(path):
    os.makedirs(path, exist_ok=True)
    os.chmod(path, 0o700)
    if os.geteuid() == 0:
        user = pwd.getpwnam(PG_USER)
        os.chown(path, user.pw_uid, user.pw_gid)
    return path


def wait_until(what, condition, seconds=60):
    end = time.time() + seconds
    while not condition():
        if time.time() > end:
            raise RuntimeError("waited in vain: " + what)
        time.sleep(0.05)


# ---------------------------------------------------------------- SQL over the wire

class SqlError(RuntimeError):
    pass


class Session:
    """One connection: the simple query protocol over a Unix socket, trust authentication."""

    def __init__(self, socket_path, database):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(120)
        self.sock.connect(socket_path)
        self.buffer = self.sock.makefile("rb")
        settings = f"user\0{PG_USER}\0database\0{database}\0client_encoding\0UTF8\0TimeZone\0UTC\0\0".encode()
        self.sock.sendall(struct.pack("!II", len(settings) + 8, 196608) + settings)
        self.tags = []
        self.read_until_ready()

    def query(self, text):
        """Runs one or more statements; returns the rows of all, values as text or None."""
        body = text.encode() + b"\0"
        self.sock.sendall(b"Q" + struct.pack("!I", len(body) + 4) + body)
        return self.read_until_ready()

    def value(self, text):
        return self.query(text)[0][0]

    def read_until_ready(self):
        rows, error, self.tags = [], None, []
        while True:
            kind, length = struct.unpack("!cI", self.buffer.read(5))
            body = self.buffer.read(length - 4)
            if kind == b"D":
                rows.append(self.read_row(body))
            elif kind == b"C":
                self.tags.append(body[:-1].decode())
            elif kind == b"E":
                error = " ".join(f[1:].decode() for f in body.split(b"\0") if f[:1] in (b"C", b"M"))
                if b"FATAL" in body:
                    raise SqlError(error)
            elif kind == b"Z":
                if error:
                    raise SqlError(error)
                return rows

    @staticmethod
    def read_row(body):
        count, = struct.unpack_from("!H", body)
        at, row = 2, []
        for _ in range(count):
            length, = struct.unpack_from("!i", body, at)
            at += 4
            row.append(None if length < 0 else body[at:at + length].decode())
            at += max(length, 0)
        return row

    def close(self):
        self.buffer.close()
        self.sock.close()


# ---------------------------------------------------------------- servers

class Cluster:
    """A data directory and, between start() and stop(), its server."""

    def __init__(self, scenario, name):
        self.scenario, self.name, self.major = scenario, name, scenario.major
        self.data = os.path.join(scenario.dir, name)
        self.run_dir = os.path.join(scenario.dir, "run")
        self.port = 5432 + len(scenario.clusters)
        self.log = os.path.join(scenario.dir, "log", name + ".log")
        self.sessions = {}
        scenario.clusters.append(self)

    def bin(self, program):
        return os.path.join(PG_ROOT, str(self.major), "bin", program)

    def path(self, *parts):
        return os.path.join(self.data, *parts)

    def init(self, slim=True, args=(), waldir=None, **settings):
        argv = [self.bin("initdb"), "-D", self.data, "-U", PG_USER, "-A", "trust", "-E", "UTF8", "--no-locale", "-N", *args]
        if self.major >= 11:
            argv.append("--wal-segsize=1")
        if waldir:
            argv += ["-X", waldir]
        if slim:
            argv += ["-L", slim_share(self.scenario.scratch, self.major)]
        run(argv)
        segment = 1 if self.major >= 11 else 16
        defaults = {
            "wal_level": "replica", "wal_log_hints": "on", "track_commit_timestamp": "on", "max_prepared_transactions": 10,
            "hot_standby": "on", "max_connections": 20, "shared_buffers": "16MB", "autovacuum": "off",
            "checkpoint_timeout": "1h", "min_wal_size": f"{2 * segment}MB", "max_wal_size": f"{64 * segment}MB",
            ("wal_keep_size" if self.major >= 13 else "wal_keep_segments"): "6MB" if self.major >= 13 else 6 // segment,
            "listen_addresses": "''", "unix_socket_directories": f"'{self.run_dir}'",
        }
        if self.major >= 12:
            defaults["wal_recycle"] = "off"
        if self.major >= 18:
            defaults["io_method"] = "sync"
        self.configure(**{**defaults, **settings})
        if slim:  # no statistics and descriptions of the catalogs, few collations
            for database in ("template1", "template0", "postgres"):
                single_user(self.bin("postgres"), self.data, database, "".join(
                    f"DELETE FROM {table}{where};\nVACUUM FULL {table};\n" for table, where in (
                        ("pg_statistic", ""), ("pg_description", ""), ("pg_shdescription", ""),
                        ("pg_collation", " WHERE collprovider = 'i' AND collname !~ '^(de|en|und)-x'"))))
        return self

    def configure(self, file="postgresql.conf", **settings):
        with open(self.path(file), "a", encoding="utf-8") as f:
            f.writelines(f"{key} = {value}\n" for key, value in settings.items())

    def start(self, *options):
        run([self.bin("pg_ctl"), "-D", self.data, "-l", self.log, "-w", "-t", "120",
             "-o", " ".join(["-F", "-p", str(self.port), *options]), "start"])
        return self

    def stop(self, mode="fast"):
        self.disconnect()
        run([self.bin("pg_ctl"), "-D", self.data, "-m", mode, "-w", "-t", "120", "stop"])
        return self

    def pids(self):
        with open(self.path("postmaster.pid")) as f:
            postmaster = int(f.readline())
        children = []
        for stat in glob.glob("/proc/[0-9]*/stat"):
            try:
                with open(stat) as f:
                    fields = f.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == postmaster:
                children.append(int(stat.split("/")[2]))
        return [postmaster, *children]

    def crash(self):
        """As if the machine lost power, except that what was written has arrived: postmaster.pid stays."""
        self.disconnect()
        with open(self.path("postmaster.pid")) as f:
            shared_memory = f.read().split("\n")[6].split()
        pids = self.pids()
        send(pids, signal.SIGKILL)
        wait_until("death of the server", lambda: not any(os.path.exists(f"/proc/{p}") and not zombie(p) for p in pids))
        for file in glob.glob(os.path.join(self.run_dir, f".s.PGSQL.{self.port}*")):
            os.remove(file)
        if len(shared_memory) == 2:
            run(["ipcrm", "-m", shared_memory[1]], check=False)
        return self

    def session(self, database="postgres", fresh=False):
        if fresh:
            return Session(os.path.join(self.run_dir, f".s.PGSQL.{self.port}"), database)
        if database not in self.sessions:
            self.sessions[database] = self.session(database, fresh=True)
        return self.sessions[database]

    def disconnect(self):
        for session in self.sessions.values():
            session.close()
        self.sessions = {}

    def sql(self, text, database="postgres"):
        return self.session(database).query(text)

    def value(self, text, database="postgres"):
        return self.session(database).value(text)

    def checkpoint(self):
        self.sql("CHECKPOINT")

    def lsn(self):
        return self.value("SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END")

    def clone(self, name):
        """A new cluster as a copy of this one's files; this one must be stopped."""
        copy = Cluster(self.scenario, name)
        run(["cp", "-a", self.data, copy.data])
        return copy

    def follow(self, primary, **settings):
        """Makes this stopped cluster a standby of `primary`."""
        conninfo = f"'host={primary.run_dir} port={primary.port} user={PG_USER} application_name={self.name}'"
        if self.major >= 12:
            write_file(self.path("standby.signal"), "")
            self.configure("postgresql.auto.conf", primary_conninfo=conninfo, **settings)
        else:
            write_file(self.path("recovery.conf"), "standby_mode = on\n"
                       f"primary_conninfo = {conninfo}\nrecovery_target_timeline = 'latest'\n")
            if settings:
                self.configure("recovery.conf", **settings)
        return self

    def promote(self):
        run([self.bin("pg_ctl"), "-D", self.data, "-w", "-t", "120", "promote"])
        wait_until("promotion", lambda: self.value("SELECT pg_is_in_recovery()") == "f")
        return self

    def catch_up(self, primary):
        """Waits until this standby has replayed what `primary` has written so far."""
        at = primary.lsn()
        wait_until(f"{self.name} to replay {at}",
                   lambda: self.value(f"SELECT coalesce(pg_last_wal_replay_lsn() >= '{at}', false)") == "t")


def send(pids, what):
    for pid in pids:
        try:
            os.kill(pid, what)
        except ProcessLookupError:  # a process that had just ended
            pass


def zombie(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def single_user(postgres, data, database, sql=""):
    done = subprocess.run([postgres, "--single", "-F", "-D", data, database], input=sql, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env={"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"}, **as_server_user())
    if done.returncode != 0 or "ERROR" in done.stderr:
        raise RuntimeError(done.stderr)


def slim_share(scratch, major):
    """initdb's input files without the views of information_schema and pg_stat*, a large part of a new database."""
    slim = os.path.join(scratch, f"share-{major}")
    if os.path.isdir(slim):
        return slim
    root = os.path.join(PG_ROOT, str(major))
    share = os.path.dirname(sorted(glob.glob(f"{root}/**/postgres.bki", recursive=True))[0])
    make_dir(slim)
    for name in os.listdir(share):
        os.symlink(os.path.join(share, name), os.path.join(slim, name))

    def replace(name, text):
        path = os.path.join(slim, name)
        if os.path.lexists(path):
            os.remove(path)
            write_file(path, text, 0o644)

    replace("information_schema.sql", """CREATE SCHEMA information_schema;

CREATE TABLE information_schema.sql_features (feature_id text, feature_name text, sub_feature_id text,
 sub_feature_name text, is_supported text, is_verified_by text, comments text);

CREATE TABLE information_schema.sql_packages (LIKE information_schema.sql_features);

CREATE TABLE information_schema.sql_implementation_info (implementation_info_name text, character_value text);

""")
    replace("sql_features.txt", "")
    with open(os.path.join(share, "system_views.sql"), encoding="utf-8") as f:
        statements = re.sub(r"/\*.*?\*/|^--[^\n]*$", "", f.read(), flags=re.S | re.M).split(";\n\n")
    unwanted = re.compile(r"\s*(CREATE VIEW|REVOKE|GRANT|CREATE RULE)\b[^;]*?\bpg_stat", re.S)
    replace("system_views.sql", "".join(
        t.strip().rstrip(";") + ";\n\n" for t in statements
        if t.strip() and not (unwanted.match(t) and re.search(r"(VIEW|ON) pg_stat", t))))
    return slim


# ---------------------------------------------------------------- what SQL says

RELATIONS = """SELECT json_build_object('database', current_database(), 'schema', n.nspname, 'name', c.relname,
  'kind', c.relkind, 'oid', c.oid::int8, 'filenode', pg_relation_filenode(c.oid)::int8,
  'tablespace', coalesce(t.spcname, (SELECT s.spcname FROM pg_database d JOIN pg_tablespace s ON s.oid = d.dattablespace
                                     WHERE d.datname = current_database())),
  'path', pg_relation_filepath(c.oid))
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_tablespace t ON t.oid = c.reltablespace
  ORDER BY c.oid"""


class Facts:
    """What a running server says about itself."""

    def __init__(self, cluster):
        rows = lambda sql: [json.loads(r[0]) for r in cluster.sql(sql)]
        self.databases = rows("SELECT json_build_object('oid', oid::int8, 'name', datname) FROM pg_database ORDER BY oid")
        self.tablespaces = rows("SELECT json_build_object('oid', oid::int8, 'name', spcname) FROM pg_tablespace ORDER BY oid")
        self.connectable = [r[0] for r in cluster.sql("SELECT datname FROM pg_database WHERE datallowconn ORDER BY oid")]
        self.relations = [json.loads(row[0]) for db in self.connectable for row in cluster.sql(RELATIONS, db)]
        self.system_identifier = cluster.value("SELECT system_identifier FROM pg_control_system()")
        self.timeline = int(cluster.value("SELECT timeline_id FROM pg_control_checkpoint()"))
        self.in_recovery = cluster.value("SELECT pg_is_in_recovery()") == "t"
        if not self.in_recovery:
            self.timeline = int(cluster.value("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"), 16)
            self.last_flush = cluster.value("SELECT pg_current_wal_flush_lsn()")
            self.last_insert = cluster.value("SELECT pg_current_wal_insert_lsn()")
        else:
            self.last_flush = cluster.value(
                "SELECT greatest(pg_last_wal_replay_lsn(), coalesce(pg_last_wal_receive_lsn(), '0/0'))")
            self.last_insert = None
            self.timeline = max(self.timeline, int(cluster.value(
                "SELECT min_recovery_end_timeline FROM pg_control_recovery()")))

    def own_relations(self):
        """Those of users, and catalogs that no longer have the file they were created with."""
        return [r for r in self.relations if r["oid"] >= 16384 or (r["filenode"] or r["oid"]) != r["oid"]]


class Lost:
    """Runs transactions on the target and remembers them in the order in which they ended."""

    def __init__(self, cluster):
        self.cluster, self.entries = cluster, []

    def tx(self, sql, tables, kind="commit", database="postgres", **more):
        session = self.cluster.session(database)
        xid = session.value("BEGIN; SELECT txid_current()")
        tags = self.statements(session, sql)
        session.query("ROLLBACK" if kind == "abort" else f"PREPARE TRANSACTION '{more['gid']}'" if kind == "prepare" else "COMMIT")
        return self.add(xid, sql, tables, kind, database, tags, **more)

    @staticmethod
    def statements(session, sql):
        session.query(sql)
        return [t for t in session.tags if t not in ("BEGIN", "SET")]

    def alone(self, sql, tables, xid_sql, database="postgres", **more):
        """A statement that cannot run in a transaction block; `xid_sql` finds its transaction afterwards."""
        session = self.cluster.session(database)
        session.query(sql)
        return self.add(session.value(xid_sql), sql, tables, "commit", database, session.tags, **more)

    def add(self, xid, sql, tables, kind, database, tags, **more):
        entry = {"xid": int(xid), "commit_time": None, "kind": kind, "database": database, "sql": sql,
                 "tables": tables, "tags": tags, **more}
        self.entries.append(entry)
        return entry

    def savepoints(self, database="postgres"):
        session = self.cluster.session(database)
        first = "INSERT INTO acct VALUES (9100, 'outer', 1)"
        kept = "INSERT INTO acct VALUES (9101, 'kept savepoint', 2) RETURNING xmin"
        undone = "INSERT INTO acct VALUES (9102, 'undone savepoint', 3) RETURNING xmin"
        last = "UPDATE acct SET balance = balance + 1 WHERE id = 9100"
        xid = session.value("BEGIN; SELECT txid_current()")
        session.query(first)
        session.query("SAVEPOINT s1")
        kept_xid = session.value(kept)
        session.query("RELEASE s1; SAVEPOINT s2")
        undone_xid = session.value(undone)
        session.query("ROLLBACK TO s2")
        session.query(last)
        last_xid = session.value("SELECT xmin FROM acct WHERE id = 9100")
        session.query("COMMIT")
        subs = [{"xid": int(kept_xid), "kind": "commit"}, {"xid": int(undone_xid), "kind": "abort"}]
        if last_xid not in (xid, kept_xid, undone_xid):
            subs.append({"xid": int(last_xid), "kind": "commit"})
        sql = f"{first}; SAVEPOINT s1; {kept}; RELEASE s1; SAVEPOINT s2; {undone}; ROLLBACK TO s2; {last}"
        return self.add(xid, sql, ["public.acct"], "commit", database, [], subtransactions=subs)

    def read_times(self, cluster=None):
        for entry in self.entries:
            if entry["kind"] in ("commit", "commit_prepared") and entry["commit_time"] is None:
                entry["commit_time"] = (cluster or self.cluster).value(
                    f"""SELECT to_char(pg_xact_commit_timestamp('{entry['xid']}'::xid) AT TIME ZONE 'UTC',
                        'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""")


# ---------------------------------------------------------------- one scenario

class Scenario:
    """A scratch directory, its clusters, and what is to be written about them."""

    def __init__(self, name, major, scratch, out):
        self.name, self.major, self.scratch, self.out = name, major, scratch, out
        self.dir = os.path.join(scratch, name)
        shutil.rmtree(self.dir, ignore_errors=True)
        make_dir(self.dir)
        for sub in ("run", "log"):
            make_dir(os.path.join(self.dir, sub))
        self.clusters, self.facts = [], {}

    def cluster(self, name="target"):
        return Cluster(self, name)

    def sub(self, name):
        return make_dir(os.path.join(self.dir, name))

    def remember(self, role, cluster):
        """Asks a running server, last thing before it stops."""
        self.facts[role] = Facts(cluster)

    def stop_all(self):
        for cluster in self.clusters:
            if os.path.exists(cluster.path("postmaster.pid")):
                cluster.disconnect()
                run([cluster.bin("pg_ctl"), "-D", cluster.data, "-m", "immediate", "stop"], check=False)

    def save(self, what, lost=None, notes=(), roles=("target", "source"), name=None, parts=None, full=False,
             waldump_from=None, extra=None, files=None):
        """Packs the directories and writes everything beside them. `parts`: directory in the pack -> cluster or path,
        `extra`: more of truth.json, `files`: more files."""
        name = name or self.name
        out = os.path.join(self.dir, ".out")  # moved into place when it is complete
        shutil.rmtree(out, ignore_errors=True)
        os.makedirs(out)
        staging = os.path.join(self.dir, ".pack")
        shutil.rmtree(staging, ignore_errors=True)
        make_dir(staging)
        parts = parts or {n: os.path.join(self.dir, n) for n in ("target", "source")}
        for part, origin in parts.items():
            origin = origin.data if isinstance(origin, Cluster) else origin
            os.makedirs(os.path.dirname(os.path.join(staging, part)), exist_ok=True)
            subprocess.run(["cp", "-a", origin, os.path.join(staging, part)], check=True)
        make_relative(staging, {(o.data if isinstance(o, Cluster) else o): p for p, o in parts.items()})
        self.scrub(staging)
        pack(staging, os.path.join(out, "pair.tar.zst"))
        shutil.rmtree(staging)

        target, source = (self.facts[r] for r in roles)
        check_dir = os.path.join(self.dir, ".check")
        shutil.rmtree(check_dir, ignore_errors=True)
        unpack(os.path.join(out, "pair.tar.zst"), make_dir(check_dir))
        switch = histories(os.path.join(check_dir, "source", "pg_wal"), source.timeline)
        truth = {
            "scenario": name, "major": str(self.major), "what": " ".join(what.split()),
            "system_identifier": target.system_identifier, "databases": target.databases, "tablespaces": target.tablespaces,
            "relations": target.own_relations(), "source_relations": source.own_relations(),
            "lost": lost.entries if isinstance(lost, Lost) else list(lost or []),
            "switch": switch, "lsn": {"target_last_flush": target.last_flush, "source_last_flush": source.last_flush,
                    "target_last_insert": target.last_insert, "source_last_insert": source.last_insert},
            "timeline": {"target": target.timeline, "source": source.timeline},
            **(extra or {}), "notes": list(notes),
        }
        target_switch = histories(os.path.join(check_dir, "target", "pg_wal"), target.timeline)
        if target_switch:
            truth["target_switch"] = target_switch
        if source.databases != target.databases:
            truth["source_databases"] = source.databases
        if source.tablespaces != target.tablespaces:
            truth["source_tablespaces"] = source.tablespaces
        if source.system_identifier != target.system_identifier:
            truth["source_system_identifier"] = source.system_identifier
        with open(os.path.join(out, "truth.json"), "w", encoding="utf-8") as f:
            f.write(self.public(dump(truth)))
        if full:
            everything = dump({"relations": target.relations, "source_relations": source.relations})
            subprocess.run(["zstd", "-q", "-19", "-f", "-o", os.path.join(out, "relations.json.zst")],
                           input=self.public(everything).encode(), check=True)
        for file, text in (files or {}).items():
            with open(os.path.join(out, file), "w", encoding="utf-8") as f:
                f.write(self.public(text))
        self.ask_programs(out, check_dir, waldump_from)
        shutil.rmtree(check_dir)
        shutil.rmtree(os.path.join(self.out, name), ignore_errors=True)
        shutil.move(out, os.path.join(self.out, name))
        out = os.path.join(self.out, name)
        size = sum(os.path.getsize(p) for p in glob.glob(os.path.join(out, "*")))
        print(f"{name}: {size / 1000:.0f} kB, pair {os.path.getsize(os.path.join(out, 'pair.tar.zst')) / 1000:.0f} kB", flush=True)

    def public(self, text):
        """Text without the paths of this machine."""
        programs = os.path.join(PG_ROOT, str(self.major), "bin")
        for path in {programs, os.path.realpath(programs)}:
            text = text.replace(path, f"/usr/lib/postgresql/{self.major}/bin")
        share = os.path.join(self.scratch, f"share-{self.major}")
        text = text.replace(share, f"/usr/share/postgresql/{self.major}")
        return text.replace(self.scratch, PUBLIC_ROOT)

    def scrub(self, tree):
        for folder, _, files in os.walk(tree):
            for file in files:
                path = os.path.join(folder, file)
                if os.path.islink(path) or os.path.getsize(path) > 200_000:
                    continue
                with open(path, "rb") as f:
                    data = f.read()
                if b"\0" in data or not (self.scratch.encode() in data or PG_ROOT.encode() in data):
                    continue
                stat = os.stat(path)
                with open(path, "wb") as f:
                    f.write(self.public(data.decode()).encode())
                os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def ask_programs(self, out, pair, waldump_from):
        """pg_controldata, pg_rewind --dry-run and pg_waldump of the same major on the unpacked pair."""
        program = lambda name: os.path.join(PG_ROOT, str(self.major), "bin", name)

        def keep(name, text):
            with open(os.path.join(out, name), "w", encoding="utf-8") as f:
                f.write(self.public(text).replace(pair, PUBLIC_ROOT))

        if not os.path.exists(program("pg_controldata")):  # at least a start must be possible
            probe = os.path.join(pair, "probe")
            for side in ("target", "source"):
                run(["cp", "-a", os.path.join(pair, side), probe])
                for file in ("postmaster.pid", "standby.signal", "recovery.conf"):
                    if os.path.exists(os.path.join(probe, file)):
                        os.remove(os.path.join(probe, file))
                single_user(program("postgres"), probe, "postgres", "SELECT 1;\n")
                shutil.rmtree(probe)
            return
        state = {}
        for side in ("target", "source"):
            text = run([program("pg_controldata"), "-D", side], cwd=pair).stdout
            keep(f"controldata-{side}.txt", text)
            state[side] = re.search(r"cluster state: +(.*)", text)[1]

        def rewind(name, *options):
            done = subprocess.run([program("pg_rewind"), "--dry-run", "--debug", "-D", "target", "--source-pgdata", "source",
                                   *options], cwd=pair, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, env={"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"},
                                  **as_server_user())
            keep(name, done.stdout + f"exit {done.returncode}\n")
            return re.search(r"rewinding from last common checkpoint at (\S+) on timeline (\d+)", done.stdout)

        clean = state["target"] in ("shut down", "shut down in recovery")
        common = rewind("pg_rewind.txt", *([] if clean else ["--no-ensure-shutdown"]))
        shutil.copytree(os.path.join(pair, "target", "pg_wal"), os.path.join(pair, "wal"))
        run_chown(os.path.join(pair, "wal"))
        if not clean and state["target"] == "in production" and state["source"].startswith("shut down"):
            recovered = os.path.join(pair, "target")
            if os.path.exists(os.path.join(recovered, "postmaster.pid")):
                os.remove(os.path.join(recovered, "postmaster.pid"))
            single_user(program("postgres"), recovered, "template1")
            common = rewind("pg_rewind-recovered.txt") or common
        archive = os.path.join(pair, "archive")
        if not common and os.path.isdir(archive) and clean:
            for file in sorted(os.listdir(archive)):
                decompressed(os.path.join(archive, file), os.path.join(pair, "target", "pg_wal"))
            run_chown(os.path.join(pair, "target", "pg_wal"))
            common = rewind("pg_rewind-archive.txt")
        start, timeline = waldump_from or ((common[1], int(common[2])) if common else (None, None))
        if not start:
            return
        names = sorted(n for n in os.listdir(os.path.join(pair, "wal")) if re.fullmatch("[0-9A-F]{24}", n))
        mine = int(re.search(r"Latest checkpoint's TimeLineID: +(\d+)", run([program("pg_controldata"), "-D", "target"],
                                                                        cwd=pair).stdout)[1])
        segment = lambda tli: "%08X%08X%08X" % (tli, int(start.split("/")[0], 16), int(start.split("/")[1], 16) >> 20)
        if segment(mine) not in names and segment(timeline) in names:
            mine = timeline
        done = run([program("pg_waldump"), "-p", "wal", "-t", str(mine), "-s", start, "--stats=record"], cwd=pair, check=False)
        keep("waldump-target.stats", done.stdout)
        keep("waldump-target.end", done.stderr)


def run_chown(path):
    if os.geteuid() == 0:
        user = pwd.getpwnam(PG_USER)
        subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", path], check=True)


def dump(value):
    """JSON with one list element per line."""
    lines = []
    for key, item in value.items():
        if isinstance(item, list) and item:
            body = ",\n".join("  " + json.dumps(e, ensure_ascii=False) for e in item)
            lines.append(f" {json.dumps(key)}: [\n{body}\n ]")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(item, ensure_ascii=False)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def make_relative(tree, origins):
    """Turns absolute symlinks into relative ones inside the tree; `origins`: scratch path -> path in the tree."""
    for folder, dirs, files in os.walk(tree):
        for name in dirs + files:
            link = os.path.join(folder, name)
            if not os.path.islink(link) or not os.path.isabs(os.readlink(link)):
                continue
            text = os.readlink(link)
            for origin, part in origins.items():
                if text == origin or text.startswith(origin + "/"):
                    inside = os.path.join(tree, part + text[len(origin):])
                    os.remove(link)
                    os.symlink(os.path.relpath(inside, folder), link)
                    break
            else:
                raise RuntimeError(f"{link} -> {text} leads out of the pack")


def pack(tree, to):
    tar = subprocess.Popen(["tar", "-C", tree, "--owner=0", "--group=0", "--numeric-owner", "--sort=name", "-cf", "-",
                            *sorted(os.listdir(tree))], stdout=subprocess.PIPE)
    subprocess.run(["zstd", "-q", "--ultra", "-22", "--long=26", "-f", "-o", to], stdin=tar.stdout, check=True)
    if tar.wait() != 0:
        raise RuntimeError("tar failed")


def unpack(pack_file, to):
    zstd = subprocess.Popen(["zstd", "-q", "-dc", "--long=26", pack_file], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-C", to, "--same-permissions", "-xf", "-"], stdin=zstd.stdout, check=True)
    run_chown(to)


def histories(pg_wal, timeline):
    """The lines of the newest history file, as they stand there."""
    path = os.path.join(pg_wal, "%08X.history" % timeline)
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as f:
        lines = [line.rstrip("\n").split("\t") for line in f if line.strip()]
    return [{"tli": int(p[0]), "lsn": p[1], "reason": p[2] if len(p) > 2 else ""} for p in lines]


COMPRESSORS = {".gz": ["gzip"], ".zst": ["zstd", "--rm"], ".lz4": ["lz4", "--rm", "-m"], ".xz": ["xz"], ".bz2": ["bzip2"]}


def decompressed(path, to):
    stem, suffix = os.path.splitext(path)
    name = os.path.basename(stem if suffix in COMPRESSORS else path)
    destination = os.path.join(to, name)
    if not re.fullmatch("[0-9A-F]{24}", name) or os.path.exists(destination):
        return
    with open(destination, "wb") as f:
        argv = [COMPRESSORS[suffix][0], "-dc", path] if suffix in COMPRESSORS else ["cat", path]
        subprocess.run(argv, stdout=f, check=True)


# ---------------------------------------------------------------- building blocks of scenarios

def seed(primary):
    """Tables of every kind that reports and decoders meet."""
    generated = ", twice int GENERATED ALWAYS AS (small * 2) STORED" if primary.major >= 12 else ""
    primary.sql("CREATE SCHEMA app")
    primary.sql("CREATE TABLE acct (id int PRIMARY KEY, owner text NOT NULL, balance numeric(12,2))")
    primary.sql("INSERT INTO acct SELECT g, 'owner ' || g, g * 1.25 FROM generate_series(1, 200) g")
    primary.sql("CREATE TABLE app.doc (id int PRIMARY KEY, title text, body text)")
    primary.sql("ALTER TABLE app.doc ALTER body SET STORAGE EXTERNAL")
    primary.sql("INSERT INTO app.doc SELECT d, 'doc ' || d, (SELECT string_agg(md5(d || '.' || g), '') "
                "FROM generate_series(1, 150) g) FROM generate_series(1, 2) d")
    primary.sql("CREATE TABLE app.event (happened date NOT NULL, what text) PARTITION BY RANGE (happened)")
    for year in (2025, 2026):
        primary.sql(f"CREATE TABLE app.event_{year} PARTITION OF app.event "
                    f"FOR VALUES FROM ('{year}-01-01') TO ('{year + 1}-01-01')")
    primary.sql("INSERT INTO app.event SELECT date '2025-06-01' + g * 30, 'event ' || g FROM generate_series(0, 15) g")
    primary.sql("CREATE TYPE app.mood AS ENUM ('sad', 'ok', 'happy')")
    primary.sql(f"""CREATE TABLE app.kinds (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, yes bool, small int2, big int8,
        real4 float4, real8 float8, amount numeric, name varchar(40), code char(6), at timestamptz, plain timestamp, day date,
        clock time, span interval, key uuid, raw bytea, doc json, docb jsonb, list int[], words text[], addr inet,
        feeling app.mood{generated})""")
    primary.sql("""INSERT INTO app.kinds (yes, small, big, real4, real8, amount, name, code, at, plain, day, clock, span, key, raw,
        doc, docb, list, words, addr, feeling) VALUES (true, 7, 9000000000, 1.5, 2.25, 12345.6789, 'Zoë', 'ab',
        '2026-01-02 03:04:05.678901+00', '2026-01-02 03:04:05', '2026-01-02', '03:04:05', '1 day 02:00:00',
        '00112233-4455-6677-8899-aabbccddeeff', '\\x00ff10', '{"a": 1}', '{"b": [1, 2]}', '{1,2,3}', '{"x","y z"}',
        '192.0.2.1/24', 'ok')""")
    primary.sql("CREATE TABLE app.log_line (line text, at timestamp)")
    primary.sql("INSERT INTO app.log_line SELECT 'line ' || g FROM generate_series(1, 10) g")
    primary.sql("CREATE TABLE app.scrap (a int); INSERT INTO app.scrap SELECT generate_series(1, 20)")
    primary.sql("CREATE TABLE note (id serial PRIMARY KEY, body text); INSERT INTO note (body) VALUES ('first'), ('second')")
    primary.sql("CREATE SEQUENCE app.ticket; SELECT nextval('app.ticket')")
    primary.sql("CREATE VIEW app.rich AS SELECT * FROM acct WHERE balance > 200")
    primary.sql("CREATE DATABASE shop")
    primary.sql("CREATE TABLE item (id serial PRIMARY KEY, label text); INSERT INTO item (label) VALUES ('nail'), ('screw')", "shop")
    primary.sql("CREATE TABLE note (id serial PRIMARY KEY, body text); INSERT INTO note (body) VALUES ('shop note')", "shop")


def forget_old_wal(primary):
    """Leaves the WAL of initdb behind, which would only cost space, and segments recycled from it as well."""
    current = primary.value("SELECT pg_walfile_name(pg_current_wal_lsn())")
    ahead = [n for n in os.listdir(primary.path("pg_wal")) if re.fullmatch("[0-9A-F]{24}", n) and n > current]
    for _ in range(2 if primary.major == 10 else max(2, len(ahead) + 1)):
        primary.sql("SELECT pg_switch_wal()")
        primary.checkpoint()


def primary_and_standby(s, primary="target", standbys=("source",), seed_more=None, init=None, before_start=None, **settings):
    """A seeded primary and its streaming standbys, all running. `before_start` sees them while they are stopped."""
    target = s.cluster(primary).init(**(init or {}), **settings)
    target.start("-c", "wal_keep_size=0" if s.major >= 13 else "wal_keep_segments=0",
                 *(["-c", "wal_recycle=off"] if s.major >= 12 else []))
    seed(target)
    if seed_more:
        seed_more(target)
    forget_old_wal(target)
    current = target.value("SELECT pg_walfile_name(pg_current_wal_lsn())")
    target.stop()
    if "wal_recycle" not in settings and "archive_mode" not in settings:  # segments made ahead from initdb's old ones
        for name in os.listdir(target.path("pg_wal")):
            if re.fullmatch("[0-9A-F]{24}", name) and name > current:
                os.remove(target.path("pg_wal", name))
    copies = [target.clone(name).follow(target) for name in standbys]
    if before_start:
        before_start(target, *copies)
    target.start()
    for copy in copies:
        copy.start()
        copy.catch_up(target)
    return (target, *copies)


def before_the_fork(target):
    """A checkpoint, some rows after it, an open and a prepared transaction. Returns what stays open."""
    target.checkpoint()
    target.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    target.sql("INSERT INTO app.log_line VALUES ('before the fork', '2026-01-01')")
    prepared = "INSERT INTO acct VALUES (8001, 'prepared before the fork', 5)"
    session = target.session()
    prepared_xid = session.value("BEGIN; SELECT txid_current()")
    session.query(prepared)
    session.query("PREPARE TRANSACTION 'gx_before'")
    long = target.session(fresh=True)
    long_xid = long.value("BEGIN; SELECT txid_current()")
    long.query("INSERT INTO acct VALUES (8002, 'began before the fork', 6)")
    return {"prepared": (prepared_xid, prepared), "long": (long, long_xid)}


def lost_after_the_fork(target, open_things, checkpoint=True):
    """The transactions that only the target has. Returns them in the order in which they ended."""
    lost = Lost(target)
    lost.tx("INSERT INTO acct VALUES (9001, 'lost insert', 1.25)", ["public.acct"])
    lost.tx("UPDATE acct SET owner = 'lost update' WHERE id BETWEEN 100 AND 104", ["public.acct"])
    lost.tx("DELETE FROM acct WHERE id = 200", ["public.acct"])
    lost.tx("INSERT INTO app.log_line SELECT 'lost line ' || g, timestamp '2026-02-03 04:05:06' FROM generate_series(1, 12) g",
            ["app.log_line"])
    lost.tx("INSERT INTO app.doc SELECT 10, 'lost doc', string_agg(md5('lost' || g), '') FROM generate_series(1, 150) g",
            ["app.doc"])
    lost.tx("UPDATE app.doc SET title = 'lost title' WHERE id = 1", ["app.doc"])
    lost.tx("INSERT INTO app.event VALUES ('2025-12-31', 'lost event'), ('2026-01-01', 'lost event')",
            ["app.event_2025", "app.event_2026"])
    lost.tx("""INSERT INTO app.kinds (yes, small, big, real4, real8, amount, name, code, at, plain, day, clock, span, key, raw,
        doc, docb, list, words, addr, feeling) VALUES (false, -1, -9000000000, 'NaN', '-Infinity', -0.001, 'lost "kind"', 'xy',
        '2026-03-04 05:06:07+02', 'infinity', '0044-03-15 BC', '23:59:59.999999', '-1 mon -3 days', NULL, '\\xdeadbeef',
        '[1, null]', '{"k": {"n": 1.50}}', '{NULL,4}', '{}', '2001:db8::1', 'happy')""", ["app.kinds"])
    lost.tx("CREATE TABLE lost_table (a int, b text)", ["public.lost_table"])
    lost.tx("INSERT INTO lost_table SELECT g, 'row ' || g FROM generate_series(1, 30) g", ["public.lost_table"])
    lost.tx("CREATE INDEX lost_table_a ON lost_table (a)", ["public.lost_table"])
    if checkpoint:
        target.checkpoint()
    lost.savepoints()
    lost.tx("INSERT INTO acct VALUES (9200, 'rolled back', 0)", ["public.acct"], kind="abort")
    lost.tx("ALTER TABLE lost_table ADD COLUMN c int DEFAULT 5", ["public.lost_table"])
    lost.tx("UPDATE lost_table SET b = 'after alter', c = 6 WHERE a = 3", ["public.lost_table"])
    lost.tx("INSERT INTO acct VALUES (9300, 'left prepared', 1)", ["public.acct"], kind="prepare", gid="gx_left")
    done = lost.tx("INSERT INTO acct VALUES (9301, 'prepared and committed', 2)", ["public.acct"], kind="prepare", gid="gx_done")
    target.sql("COMMIT PREPARED 'gx_done'")
    lost.add(done["xid"], "COMMIT PREPARED 'gx_done'", ["public.acct"], "commit_prepared", "postgres", ["COMMIT PREPARED"], gid="gx_done")
    if open_things:
        xid, sql = open_things["prepared"]
        target.sql("COMMIT PREPARED 'gx_before'")
        lost.add(xid, "COMMIT PREPARED 'gx_before'", ["public.acct"], "commit_prepared", "postgres", ["COMMIT PREPARED"],
                 gid="gx_before", before_the_fork=[sql])
    lost.tx("SELECT nextval('app.ticket') FROM generate_series(1, 40)", ["app.ticket"])
    lost.tx("TRUNCATE note", ["public.note"])
    lost.tx("DROP TABLE app.scrap", ["app.scrap"])
    lost.tx("INSERT INTO item (label) VALUES ('lost bolt')", ["public.item"], database="shop")
    lost.tx("UPDATE note SET body = 'lost shop note'", ["public.note"], database="shop")
    if open_things:
        session, xid = open_things["long"]
        tail = "UPDATE acct SET owner = 'long' WHERE id = 150"
        session.query(tail)
        session.query("COMMIT")
        session.close()
        lost.add(xid, tail, ["public.acct"], "commit", "postgres", ["UPDATE 1"],
                 before_the_fork=["INSERT INTO acct VALUES (8002, 'began before the fork', 6)"])
    lost.read_times()
    return lost


def few_lost(target):
    """Three lost transactions, where the scenario is about something else."""
    lost = Lost(target)
    lost.tx("INSERT INTO acct VALUES (9001, 'lost insert', 1.25)", ["public.acct"])
    lost.tx("UPDATE acct SET owner = 'lost update' WHERE id BETWEEN 100 AND 104", ["public.acct"])
    lost.tx("DELETE FROM acct WHERE id = 200", ["public.acct"])
    lost.read_times()
    return lost


def source_goes_on(source, more=None, new_table=True):
    """The new primary's own life after the promotion, up to its clean stop."""
    source.sql("INSERT INTO acct SELECT g, 'on the new primary', 0 FROM generate_series(5001, 5010) g")
    source.sql("UPDATE acct SET owner = 'new primary' WHERE id BETWEEN 102 AND 110")
    source.sql("INSERT INTO app.event VALUES ('2026-05-05', 'new primary')")
    if new_table:
        source.sql("CREATE TABLE only_on_source (a int); INSERT INTO only_on_source VALUES (1)")
    source.sql("INSERT INTO item (label) VALUES ('new washer')", "shop")
    if more:
        more(source)
    source.checkpoint()
    source.sql("UPDATE acct SET balance = 0 WHERE id = 1")
    source.scenario.remember("source", source)
    source.stop()


SCENARIOS = {}


def scenario(*names, major=DEFAULT_MAJOR):
    def register(function):
        for name in names or [function.__name__.replace("_", "-")]:
            SCENARIOS[name] = (function, major)
        return function
    return register


# ---------------------------------------------------------------- scenarios

def failover(s, crash=False, init=None, **settings):
    """The plain failover behind basic-N and several others."""
    target, source = primary_and_standby(s, init=init, **settings)
    if crash:  # so that the current segment is a recycled one
        for _ in range(2):
            target.sql("UPDATE acct SET balance = balance + 1; SELECT pg_switch_wal()")
            target.checkpoint()
    still_open = before_the_fork(target)
    source.catch_up(target)
    source.promote()
    lost = lost_after_the_fork(target, still_open)
    s.remember("target", target)
    target.crash() if crash else target.stop()
    source_goes_on(source)
    return lost


FAILOVER = """A primary (target) with one streaming standby (source). A checkpoint, some rows, one transaction prepared
    and one left open; the standby had replayed everything when it was promoted to timeline 2. The old primary went on alone
    with the transactions under "lost", with a CHECKPOINT in the middle, """


def basic(s):
    checksums = s.major in (11, 13, 17) or s.major >= 18
    args = ["-k"] if checksums and s.major < 18 else []
    lost = failover(s, init={"slim": s.major not in FULL, "args": args})
    s.save(FAILOVER + "and was stopped cleanly (fast). The new primary wrote rows of its own and was stopped cleanly.",
           lost, ["data checksums " + ("on" if checksums else "off") + ", wal_log_hints on"], full=True)


for _major in range(10, 20):
    SCENARIOS[f"basic-{_major}"] = (basic, _major)


@scenario()
def crashed_target(s):
    lost = failover(s, crash=True, wal_recycle="on", wal_keep_size=0)
    s.save(FAILOVER + """and was killed (SIGKILL to every process, postmaster.pid stays) with WAL after its last checkpoint.
           Its segments are recycled ones, so old records follow the end of the WAL. The new primary wrote rows of its own and was stopped cleanly.""", lost)


@scenario()
def switchover(s):
    target, source = primary_and_standby(s)
    target.checkpoint()
    target.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    source.catch_up(target)
    s.remember("target", target)
    target.stop()
    source.promote()
    source_goes_on(source)
    s.save("""Clean switchover: the primary (target) was stopped cleanly (fast) while its standby streamed, so the standby has
           its shutdown checkpoint too; then the standby (source) was promoted and wrote rows of its own. The old primary lost
           nothing, lacks 00000002.history and has no standby.signal.""")


def promote_twins(s, *standbys):
    """Standbys of one cleanly stopped primary, each promoted without knowing of the other."""
    target, *twins = primary_and_standby(s, standbys=standbys)
    target.checkpoint()
    target.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    for twin in twins:
        twin.catch_up(target)
    first = target.value("SELECT checkpoint_lsn FROM pg_control_checkpoint()")
    target.stop()
    return (target, first, *twins)


@scenario()
def twins(s):
    origin, common, source, twin = promote_twins(s, "source", "twin")
    source.promote()
    source_goes_on(source)
    twin.promote()
    lost = few_lost(twin)
    twin.checkpoint()
    s.remember("target", twin)
    twin.stop()
    s.save("""One primary with two standbys was stopped cleanly; both standbys had everything. Both were promoted on their own,
           at the same position, both to timeline 2 (source first, then target), and each wrote rows. Target is one twin,
           source the other: same switch position, same timeline number, different WAL. "lost" is what the target twin wrote.""",
           lost, ["The control files of both name timeline 2, so pg_rewind finds nothing to do."],
           parts={"target": twin, "source": source}, waldump_from=(common, 1))


@scenario()
def before_switchover(s):
    target, source = primary_and_standby(s)
    target.checkpoint()
    target.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    source.catch_up(target)
    s.remember("target", target)
    target.stop()
    s.remember("source", source)
    source.stop()
    s.save("""The moment before a switchover: the primary (target) was stopped cleanly (fast) while its standby (source) streamed,
           then the standby was stopped cleanly. Nobody was promoted; both have the same WAL.""")


@scenario()
def same_position(s):
    source, target = primary_and_standby(s, primary="source", standbys=("target",))
    source.checkpoint()
    source.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    target.catch_up(source)
    s.remember("source", source)
    source.stop()
    s.remember("target", target)
    target.stop()
    s.save("""A primary (source) was stopped cleanly (fast) while its standby (target) streamed; then the standby was stopped.
           Both are at the same position of timeline 1.""")


@scenario()
def healthy_standby(s):
    source, target = primary_and_standby(s, primary="source", standbys=("target",))
    source.checkpoint()
    source.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    target.catch_up(source)
    s.remember("target", target)
    target.stop()
    source_goes_on(source)
    s.save("""A standby (target) was stopped cleanly (fast); its primary (source) went on on the same timeline, made a checkpoint
           and was stopped cleanly later. The standby is merely behind and has only to be started.""")


@scenario()
def crashed_create_table(s):
    target, source = primary_and_standby(s)
    target.checkpoint()
    target.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    source.catch_up(target)
    source.promote()
    lost = few_lost(target)
    target.checkpoint()
    lost.tx("CREATE SCHEMA fresh", [])
    lost.tx("CREATE TABLE fresh.made (id int PRIMARY KEY, body text, amount numeric)", ["fresh.made"])
    lost.tx("INSERT INTO fresh.made SELECT g, 'made ' || g, g / 8.0 FROM generate_series(1, 40) g", ["fresh.made"])
    lost.alone("VACUUM FULL app.log_line", ["app.log_line"], "SELECT xmin FROM pg_class WHERE oid = 'app.log_line'::regclass")
    lost.tx("INSERT INTO app.log_line VALUES ('after vacuum full', '2026-02-02')", ["app.log_line"])
    lost.alone("VACUUM FULL pg_class", ["pg_catalog.pg_class"], "SELECT xmin FROM pg_class WHERE oid = 'pg_class'::regclass")
    lost.tx("ALTER TABLE app.scrap RENAME TO kept_scrap", ["app.kept_scrap"])
    lost.tx("INSERT INTO app.kept_scrap VALUES (1000)", ["app.kept_scrap"])
    lost.tx("ALTER TABLE app.kinds ALTER amount TYPE numeric(14,3)", ["app.kinds"])
    lost.tx("UPDATE app.kinds SET big = 1125 WHERE id = 1", ["app.kinds"])
    lost.tx("DROP TABLE app.event_2025", ["app.event_2025"])
    lost.tx("INSERT INTO fresh.made VALUES (9001, 'last one', NULL)", ["fresh.made"])
    lost.read_times()
    s.remember("target", target)
    target.crash()
    source_goes_on(source)
    s.save("""Failover as in basic-18, few transactions on the old primary, a CHECKPOINT, and then, with no checkpoint any more: a new
           schema, a new table with rows, VACUUM FULL of a table and of pg_class (so the database's relation map changes), a renamed
           table, a column whose type changes (table rewritten), a dropped partition, and rows in all of these. The old primary was
           killed (SIGKILL, postmaster.pid stays). Its catalogs on disk know nothing of what came after the checkpoint; "relations"
           is what its memory knew.""", lost, full=True)


@scenario()
def standby_ahead(s):
    primary, source, target = primary_and_standby(s, primary="primary", standbys=("source", "target"))
    primary.checkpoint()
    primary.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    for standby in (source, target):
        standby.catch_up(primary)
    source.stop()
    lost = few_lost(primary)
    lost.tx("CREATE TABLE ahead (a int); INSERT INTO ahead VALUES (1), (2)", ["public.ahead"])
    lost.read_times()
    target.catch_up(primary)
    primary.crash()
    s.remember("target", target)
    target.stop()
    source.start().promote()
    source_goes_on(source)
    s.save("""A primary with two standbys. One standby (source) was down while the primary wrote the transactions under "lost"; the
           other (target) received and replayed them. The primary was killed for good; target was stopped cleanly (fast); source,
           which had less, was started and promoted.""", lost)


@scenario()
def standby_received_only(s):
    primary, source, target = primary_and_standby(s, primary="primary", standbys=("source", "target"))
    primary.checkpoint()
    primary.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    for standby in (source, target):
        standby.catch_up(primary)
    source.stop()
    target.sql("SELECT pg_wal_replay_pause()")
    wait_until("pause", lambda: target.value("SELECT pg_get_wal_replay_pause_state()") == "paused")
    lost = few_lost(primary)
    at = primary.lsn()
    wait_until("reception", lambda: target.value(f"SELECT pg_last_wal_receive_lsn() >= '{at}'") == "t")
    primary.crash()
    replayed = target.value("SELECT pg_last_wal_replay_lsn()")
    s.remember("target", target)
    target.stop()
    source.start().promote()
    source_goes_on(source)
    s.save("""As standby-ahead, but the target only received the transactions under "lost" and did not replay them: its replay was
           paused (pg_wal_replay_pause) before they were written. Its data files hold nothing past the fork; only its pg_wal does.""",
           lost, extra={"replayed": replayed})


@scenario()
def restartpoint_behind(s):
    def wide(primary):
        primary.sql("CREATE TABLE app.wide (id int PRIMARY KEY, v text)")
        primary.sql("INSERT INTO app.wide SELECT g, 'old' FROM generate_series(1, 3000) g")

    def lazy(primary, source, target):
        target.configure(bgwriter_lru_maxpages=0)

    primary, source, target = primary_and_standby(s, primary="primary", standbys=("source", "target"), seed_more=wide,
                                                  before_start=lazy)
    primary.checkpoint()
    target.catch_up(primary)
    target.checkpoint()  # the target's last restartpoint
    restartpoint = target.value("SELECT checkpoint_lsn FROM pg_control_checkpoint()")
    primary.sql("UPDATE app.wide SET v = 'new'")
    primary.checkpoint()  # the last common checkpoint
    common = primary.value("SELECT checkpoint_lsn FROM pg_control_checkpoint()")
    primary.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    for standby in (source, target):
        standby.catch_up(primary)
    source.stop()
    lost = few_lost(primary)
    target.catch_up(primary)
    s.remember("target", target)
    if target.value("SELECT checkpoint_lsn FROM pg_control_checkpoint()") != restartpoint:
        raise RuntimeError("the target made another restartpoint")
    target.crash()
    primary.crash()
    source.start().promote()
    source_goes_on(source)
    s.save("""A primary with two standbys. The target standby made a restartpoint; then the primary changed all 3000 rows of app.wide
           from 'old' to 'new' and made a checkpoint (the last common one), which the target replayed without a restartpoint of
           its own, so that its data files are older than the last common checkpoint. The source standby was stopped, the primary
           wrote the transactions under "lost", which only the target replayed; target and primary were killed, the source promoted.
           A rewind that lets replay start at the last common checkpoint leaves 'old' rows.""", lost,
           ["On the source every row of app.wide has v = 'new'."], extra={"restartpoint": restartpoint, "last_common_checkpoint": common},
           waldump_from=(common, 1))


@scenario("cascade-1-2-3")
def cascade(s):
    made = {}

    def third(a, b):
        made["c"] = a.clone("c").follow(b)

    a, b = primary_and_standby(s, primary="a", standbys=("b",), before_start=third)
    c = made["c"].start()
    a.checkpoint()
    a.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    b.catch_up(a)
    c.catch_up(b)
    b.promote()
    lost_a = few_lost(a)
    s.remember("a", a)
    a.stop()
    b.sql("INSERT INTO acct VALUES (6001, 'on timeline 2', 1)")
    b.checkpoint()
    b.sql("INSERT INTO acct VALUES (6002, 'on timeline 2', 1)")
    c.catch_up(b)
    c.promote()
    lost_b = few_lost(b)
    s.remember("b", b)
    b.stop()
    source_goes_on(c)
    what = """Servers a, b (standby of a) and c (standby of b). b was promoted to timeline 2 while a went on alone on timeline 1 and was
           stopped cleanly; c followed b to timeline 2 and was then promoted to timeline 3 while b went on alone on timeline 2 and was
           stopped cleanly. Source is c. """
    s.save(what + "Target is a, still on timeline 1.", lost_a, roles=("a", "source"), parts={"target": a, "source": c})
    s.save(what + "Target is b, still on timeline 2.", lost_b, roles=("b", "source"), parts={"target": b, "source": c},
           name="cascade-1-2-3b")


@scenario()
def twins_middle(s):
    made = {}

    def third(primary, other, target):
        made["source"] = primary.clone("source").follow(other)

    primary, other, target = primary_and_standby(s, primary="primary", standbys=("other", "target"), before_start=third)
    source = made["source"].start()
    primary.checkpoint()
    primary.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    for standby in (other, target):
        standby.catch_up(primary)
    common = primary.value("SELECT checkpoint_lsn FROM pg_control_checkpoint()")
    primary.stop()

    def life(twin, name):  # as long in the WAL of one twin as in that of the other
        twin.promote()
        wait_until("checkpoint", lambda: twin.value("SELECT timeline_id FROM pg_control_checkpoint()") == "2")
        lost = Lost(twin)
        lost.tx(f"INSERT INTO acct SELECT g, 'on {name} twin', 1 FROM generate_series(7001, 7020) g", ["public.acct"])
        lost.tx(f"UPDATE acct SET owner = '{name} twin' WHERE id BETWEEN 30 AND 60", ["public.acct"])
        twin.checkpoint()
        lost.tx(f"UPDATE acct SET owner = '{name} twin, later' WHERE id = 61", ["public.acct"])
        return lost, twin.value("SELECT pg_current_wal_insert_lsn()")

    _, end_of_other = life(other, "one")
    source.catch_up(other)
    source.promote()
    other.stop()
    source_goes_on(source)
    lost, end = life(target, "two")
    if end != end_of_other:
        raise RuntimeError(f"the twins' WAL differs in length: {end_of_other}, {end}")
    lost.tx("INSERT INTO acct VALUES (9001, 'only on the target twin', 2)", ["public.acct"])
    lost.read_times()
    s.remember("target", target)
    target.stop()
    s.save("""A primary with two standbys (other, target) and a standby (source) of the first; the primary was stopped cleanly and
           both standbys had everything. other was promoted to timeline 2 and wrote; source followed it and was promoted to timeline 3.
           target was promoted on its own, at the same position, to a timeline 2 of its own, and wrote the transactions under "lost":
           statements of the same length, so that records begin at the same positions in both timelines 2, and one more.
           The source's history lists a timeline 2 that begins where the target's does and is another one.""", lost,
           ["The two lineages part at the end of timeline 1, not at the end of timeline 2."], waldump_from=(common, 1))


@scenario()
def just_promoted(s):
    def wide(primary):
        primary.sql("CREATE TABLE app.wide (id int PRIMARY KEY, v text)")
        primary.sql("INSERT INTO app.wide SELECT g, 'old' FROM generate_series(1, 20000) g")

    def lazy(target, source):
        source.configure(bgwriter_lru_maxpages=0)

    target, source = primary_and_standby(s, seed_more=wide, before_start=lazy, max_wal_size="64MB")
    target.checkpoint()
    target.sql("UPDATE app.wide SET v = 'new' WHERE id % 100 = 0")  # many dirty pages: the checkpoint will take its time
    source.catch_up(target)
    source.promote()
    source.sql("INSERT INTO acct VALUES (5001, 'on the new primary', 0)")
    s.remember("source", source)
    timeline = source.value("SELECT timeline_id FROM pg_control_checkpoint()")
    if timeline != "1":
        raise RuntimeError("the source's checkpoint was faster")
    source.stop("immediate")
    lost = few_lost(target)
    s.remember("target", target)
    target.stop()
    s.save("""Failover, but the new primary (source) was stopped (immediate) right after its promotion, before the first checkpoint of
           timeline 2: its pg_control still names timeline 1, while its pg_wal has 00000002.history and an END_OF_RECOVERY record on
           timeline 2. The old primary (target) wrote the transactions under "lost" and was stopped cleanly.""", lost)


ARCHIVE_SUFFIXES = (".gz", ".zst", ".lz4", "", ".xz", ".bz2")


@scenario()
def recycled_archive(s):
    archive = s.sub("archive")
    target, source = primary_and_standby(s, archive_mode="on", wal_keep_size=0,
                                         archive_command=f"'test ! -f {archive}/%f && cp %p {archive}/%f'")
    target.checkpoint()
    first = target.value("SELECT pg_walfile_name(redo_lsn) FROM pg_control_checkpoint()")
    for i in range(5):
        target.sql(f"UPDATE acct SET balance = balance + 1 WHERE id = {i + 1}")
        target.sql("SELECT pg_switch_wal()")
    target.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    source.catch_up(target)
    source.promote()
    fork = target.value("SELECT pg_walfile_name(pg_current_wal_lsn())")
    lost = few_lost(target)
    target.sql("SELECT pg_switch_wal()")
    last = target.value("SELECT pg_walfile_name(pg_current_wal_lsn())")
    wait_until("the archive", lambda: target.value(
        "SELECT last_archived_wal >= '%s' FROM pg_stat_get_archiver()" % fork) == "t")
    target.checkpoint()
    lost.tx("INSERT INTO acct VALUES (9002, 'after the recycling', 2)", ["public.acct"])
    lost.read_times()
    s.remember("target", target)
    target.stop()
    source_goes_on(source)
    for name in os.listdir(archive):  # an archive that is cleaned up now and then
        if re.match("[0-9A-F]{24}", name) and name < first:
            os.remove(os.path.join(archive, name))
    segments = sorted(n for n in os.listdir(archive) if re.fullmatch("0000000[12][0-9A-F]{16}", n))
    for i, name in enumerate(segments):
        suffix = ARCHIVE_SUFFIXES[i % len(ARCHIVE_SUFFIXES)]
        if suffix:
            subprocess.run([*COMPRESSORS[suffix], "-q", os.path.join(archive, name)], check=True)
    gone = sorted(set(segments) - set(os.listdir(target.path("pg_wal"))) - set(os.listdir(source.path("pg_wal"))))
    s.save(f"""Failover with WAL archiving and wal_keep_size = 0. Between the last common checkpoint and the fork lie several segments;
           after the fork the old primary made a checkpoint that removed them, and the new primary's checkpoint removed its copies.
           They exist only in archive/, where segments were compressed afterwards in turn with gzip, zstd, lz4, not at all, xz, bzip2
           (the program's usual suffix). The new primary archived into the same place, so the last segment of timeline 1 is there
           as .partial, too. Both were stopped cleanly.""", lost,
           parts={"target": target, "source": source, "archive": archive},
           extra={"wal_needed": {"first": first, "fork": fork}, "wal_only_in_archive": gone, "last_target_segment": last})


@scenario()
def maintenance_only(s):
    target, source = primary_and_standby(s)
    target.sql("DELETE FROM app.log_line WHERE line < 'line 5'")
    target.sql("UPDATE acct SET owner = 'changed' WHERE id % 3 = 0")
    target.sql("DELETE FROM acct WHERE id % 7 = 0")
    target.checkpoint()
    target.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    source.catch_up(target)
    source.promote()
    next_xid = lambda: target.value("SELECT txid_snapshot_xmax(txid_current_snapshot())")
    before = next_xid()
    target.sql("SELECT count(*) FROM acct; SELECT count(*) FROM app.log_line; SELECT count(*) FROM app.event")
    target.sql("VACUUM (TRUNCATE false) acct")
    target.sql("VACUUM (TRUNCATE false, FREEZE) app.log_line")
    target.checkpoint()
    target.sql("SELECT count(*) FROM app.kinds; SELECT count(*) FROM pg_class")
    target.checkpoint()
    if next_xid() != before:
        raise RuntimeError("maintenance took a transaction id")
    s.remember("target", target)
    target.stop()
    source_goes_on(source)
    s.save("""Failover; after the fork the old primary only read tables (hint bits, logged because of checksums), ran VACUUM and VACUUM
           (FREEZE) without truncation and two CHECKPOINTs, and was stopped cleanly. No transaction id was assigned; nothing is lost.""",
           [], [f"next transaction id before and after: {before}"])


@scenario()
def shutdown_checkpoint_only(s):
    target, source = primary_and_standby(s)
    target.checkpoint()
    target.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    source.catch_up(target)
    s.remember("target", target)  # which may log hint bits; a commit flushes and so streams them
    target.sql("UPDATE acct SET balance = balance + 1 WHERE id = 1")
    source.catch_up(target)
    s.facts["target"].last_flush = target.lsn()
    s.facts["target"].last_insert = target.value("SELECT pg_current_wal_insert_lsn()")
    source.stop()  # so it misses what the primary writes while it stops
    target.stop()
    source.start().promote()
    source_goes_on(source)
    s.save("""The standby (source) had everything and lost its connection (it was stopped) just before the primary (target) was
           stopped cleanly (fast), so it missed the primary's shutdown checkpoint and nothing else. Then it was started without a
           primary and promoted. Nothing is lost.""")


@scenario()
def tablespaces(s):
    make_dir(os.path.join(s.dir, "tablespaces"))
    spaces = {"target": s.sub("tablespaces/target_fast"), "source": s.sub("tablespaces/source_fast")}
    wal = {side: os.path.join(s.dir, "pg_wal_" + side) for side in ("target", "source")}

    def use_it(primary):
        primary.sql(f"CREATE TABLESPACE fast LOCATION '{spaces['target']}'")
        primary.sql("CREATE TABLE app.quick (id int PRIMARY KEY USING INDEX TABLESPACE fast, body text) TABLESPACE fast")
        primary.sql("INSERT INTO app.quick SELECT g, 'quick ' || g FROM generate_series(1, 300) g")
        primary.sql("CREATE TABLE app.moved (a int); INSERT INTO app.moved SELECT generate_series(1, 30)")
        primary.sql("CREATE TABLE quick_item (a int) TABLESPACE fast; INSERT INTO quick_item VALUES (1)", "shop")

    def own_directories(target, source):  # the copy's links still lead to the target's directories
        run(["cp", "-a", wal["target"], wal["source"]])
        run(["cp", "-a", spaces["target"] + "/.", spaces["source"]])
        for link, to in [("pg_wal", wal["source"])] + [(f"pg_tblspc/{oid}", spaces["source"])
                                                      for oid in os.listdir(source.path("pg_tblspc"))]:
            os.remove(source.path(link))
            run(["ln", "-s", to, source.path(link)])

    target, source = primary_and_standby(s, init={"waldir": wal["target"]}, seed_more=use_it, before_start=own_directories)
    target.checkpoint()
    target.sql("UPDATE app.quick SET body = 'before the fork' WHERE id <= 20")
    source.catch_up(target)
    source.promote()
    lost = Lost(target)
    lost.tx("INSERT INTO app.quick SELECT g, 'lost quick' FROM generate_series(9001, 9010) g", ["app.quick"])
    lost.tx("UPDATE app.quick SET body = 'lost update' WHERE id BETWEEN 100 AND 109", ["app.quick"])
    lost.tx("CREATE TABLE app.lost_quick (a int) TABLESPACE fast", ["app.lost_quick"])
    lost.tx("INSERT INTO app.lost_quick VALUES (1), (2)", ["app.lost_quick"])
    lost.tx("ALTER TABLE app.moved SET TABLESPACE fast", ["app.moved"])
    lost.tx("DELETE FROM app.moved WHERE a < 5", ["app.moved"])
    lost.tx("INSERT INTO quick_item VALUES (9001)", ["public.quick_item"], database="shop")
    lost.tx("INSERT INTO acct VALUES (9001, 'lost insert', 1.25)", ["public.acct"])
    lost.read_times()
    s.remember("target", target)
    target.stop()
    source_goes_on(source, lambda c: c.sql("UPDATE app.quick SET body = 'new primary' WHERE id BETWEEN 105 AND 120"))
    s.save("""Failover with a tablespace "fast" in a directory of its own on each side (tablespaces/target_fast, tablespaces/source_fast)
           and pg_wal a symbolic link (pg_wal_target, pg_wal_source). After the fork tables in it were changed, made and moved into it
           on the old primary and changed on the new one. The absolute links were made relative for the pack.""", lost,
           parts={"target": target, "source": source, "tablespaces": os.path.join(s.dir, "tablespaces"),
                  "pg_wal_target": wal["target"], "pg_wal_source": wal["source"]})


@scenario("compress-pglz", "compress-lz4", "compress-zstd")
def compressed_images(s):
    method = s.name.split("-")[1]
    target, source = primary_and_standby(s, wal_compression=method)
    target.checkpoint()
    target.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    source.catch_up(target)
    source.promote()
    lost = few_lost(target)
    target.checkpoint()
    lost.tx("UPDATE acct SET owner = 'compressed image' WHERE id BETWEEN 40 AND 60", ["public.acct"])
    lost.tx("UPDATE app.doc SET body = left(body, 3000) WHERE id = 1", ["app.doc"])
    lost.read_times()
    s.remember("target", target)
    target.stop()
    source_goes_on(source, new_table=False)
    s.save(f"Failover with wal_compression = {method}: full page images in the WAL of both sides are compressed so. "
           "Both were stopped cleanly.", lost)


def diverged(s):
    """A plain small failover, both sides stopped cleanly."""
    target, source = primary_and_standby(s)
    target.checkpoint()
    target.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    source.catch_up(target)
    source.promote()
    lost = few_lost(target)
    lost.tx("CREATE TABLE lost_table (a int); INSERT INTO lost_table SELECT generate_series(1, 400)", ["public.lost_table"])
    lost.read_times()
    s.remember("target", target)
    target.stop()
    source_goes_on(source)
    return target, source, lost


def target_path(s, relation):
    return next(r["path"] for r in s.facts["target"].relations if r["name"] == relation)


def really_rewind(s, target, source):
    """Runs pg_rewind for good; keeps the target as it was in target-before/. Returns the program's output."""
    before = os.path.join(s.dir, "target-before")
    run(["cp", "-a", target.data, before])
    done = run([target.bin("pg_rewind"), "--debug", "-N", "-D", "target", "--source-pgdata", "source"], check=False, cwd=s.dir)
    output = done.stdout + done.stderr + f"exit {done.returncode}\n"
    return done.returncode, output, {"target": target, "source": source, "target-before": before}


@scenario("half-rewound", "half-rewound-blocks")
def half_rewound(s):
    target, source, lost = diverged(s)
    if s.name == "half-rewound":
        stuck, when = "server.key", "after every file of pg_wal had been copied and before any block of a table"
        write_file(source.path(stuck), "not a real key\n")
        write_file(target.path(stuck), "not a real key\n", 0o400)
    else:
        stuck, when = target_path(s, "acct_pkey"), "after whole files and blocks of some tables had been copied"
        os.chmod(target.path(stuck), 0o400)
    status, output, parts = really_rewind(s, target, source)
    if status == 0:
        raise RuntimeError("pg_rewind did not fail")
    s.save(f"""Failover, then a real pg_rewind of the old primary (target) that failed half-way because {stuck} in the target was
           read-only (mode 0400): {when}, while pg_control is still the old one. target-before/ is the target as it was before.""",
           lost, parts=parts, files={"pg_rewind-failed.txt": output})


@scenario()
def rewound(s):
    target, source, lost = diverged(s)
    status, output, parts = really_rewind(s, target, source)
    if status != 0:
        raise RuntimeError(output)
    s.save("""Failover, then a real pg_rewind of the old primary (target) that ended with "Done!". The target was not started since:
           backup_label (BACKUP METHOD: pg_rewind) is there, pg_control says "in archive recovery", and there is no standby.signal.
           target-before/ is the target as it was before; "lost" are the transactions that the rewind discarded.""",
           lost, parts=parts, files={"pg_rewind-done.txt": output})


@scenario()
def contrecord(s):
    target, source = primary_and_standby(s)
    target.checkpoint()
    target.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    source.catch_up(target)
    source.promote()
    lost = few_lost(target)
    file = "SELECT pg_walfile_name(pg_current_wal_insert_lsn())"
    begin = target.value(file)
    target.sql("SELECT pg_logical_emit_message(false, 'long', repeat('x', 1200000), true)")
    end = target.value(file)
    target.crash()
    torn = [n for n in os.listdir(target.path("pg_wal")) if re.fullmatch("[0-9A-F]{24}", n) and n > begin]
    for name in torn:  # as if these had not reached the disk
        os.remove(target.path("pg_wal", name))
    os.remove(target.path("postmaster.pid"))
    target.start()
    lost.tx("INSERT INTO acct VALUES (9003, 'after the torn record', 3)", ["public.acct"])
    lost.read_times()
    s.remember("target", target)
    target.stop()
    source_goes_on(source)
    s.save(f"""Failover; after the fork the old primary wrote a record of 1.2 MB that begins in segment {begin} and ends in {end}, and was
           killed; the segments after the first were removed, as if they had not reached the disk. On restart crash recovery ended at
           the torn record and wrote OVERWRITE_CONTRECORD at the start of the next segment; one more transaction followed and a clean
           stop.""", lost)


@scenario()
def checksums_mismatch(s):
    def enable(target, source):
        run([source.bin("pg_checksums"), "--enable", "-N", "-D", source.data])

    target, source = primary_and_standby(s, init={"args": ["--no-data-checksums"]}, before_start=enable)
    target.checkpoint()
    target.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    source.catch_up(target)
    source.promote()
    lost = few_lost(target)
    s.remember("target", target)
    target.stop()
    source_goes_on(source)
    s.save("""Failover where data checksums are enabled on the source only: pg_checksums --enable was run on the standby's files alone
           before it first started. The target has none (but wal_log_hints = on). Both were stopped cleanly.""", lost)


@scenario()
def no_hints(s):
    target, source = primary_and_standby(s, init={"args": ["--no-data-checksums"]}, wal_log_hints="off")
    target.checkpoint()
    target.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    source.catch_up(target)
    source.promote()
    lost = few_lost(target)
    target.sql("SELECT count(*) FROM acct; SELECT count(*) FROM app.log_line; SELECT count(*) FROM app.kinds")  # hint bits, not logged
    s.remember("target", target)
    target.stop()
    source_goes_on(source)
    s.save("Failover with neither data checksums nor wal_log_hints: hint bits changed on disk after the fork without a trace in "
           "the WAL. Both were stopped cleanly.", lost)


@scenario()
def slots(s):
    columns = "slot_name, slot_type, plugin, database, restart_lsn, confirmed_flush_lsn"
    listing = f"SELECT row_to_json(x) FROM (SELECT {columns} FROM pg_replication_slots ORDER BY slot_name) x"
    read = lambda cluster: [json.loads(row[0]) for row in cluster.sql(listing)]

    def physical(primary):
        primary.sql("SELECT pg_create_physical_replication_slot('standby_slot')")

    def use_slot(target, source):  # slots do not travel in a base backup
        for name in os.listdir(source.path("pg_replslot")):
            shutil.rmtree(source.path("pg_replslot", name))
        source.configure("postgresql.auto.conf", primary_slot_name="'standby_slot'")

    target, source = primary_and_standby(s, wal_level="logical", seed_more=physical, before_start=use_slot)
    target.sql("CREATE PUBLICATION pub FOR ALL TABLES")
    for name in ("cdc_ahead", "cdc_behind"):
        target.sql(f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")
    target.checkpoint()
    target.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    source.catch_up(target)
    source.promote()
    lost = few_lost(target)
    target.sql("SELECT count(*) FROM pg_logical_slot_get_binary_changes('cdc_ahead', NULL, NULL, "
               "'proto_version', '1', 'publication_names', 'pub')")
    lost.tx("INSERT INTO acct VALUES (9002, 'not consumed by anyone', 2)", ["public.acct"])
    lost.read_times()
    slots_target = read(target)
    s.remember("target", target)
    target.stop()
    source.sql("SELECT pg_create_logical_replication_slot('cdc_new', 'pgoutput')")
    slots_source = read(source)
    source_goes_on(source)
    s.save("""Failover with wal_level = logical. The old primary (target) has the physical slot of its standby and two logical slots; one
           of them (cdc_ahead) was consumed past the fork, so its consumer has seen transactions that the new primary does not have.
           The new primary (source) has a logical slot of its own, made after the promotion. Both were stopped cleanly.""", lost,
           extra={"slots": slots_target, "source_slots": slots_source})


@scenario()
def archive_conflict(s):
    archive = s.sub("archive")
    made = {}

    def copies(target, source):
        made["orphan"] = target.clone("orphan").follow(target)
        made["second"] = target.clone("second")
        # a careless command: reports success for what is there already
        made["second"].configure(archive_command=f"'test -f {archive}/%f || cp %p {archive}/%f'")
        source.configure(restore_command=f"'cp {archive}/%f %p'")

    archived = lambda cluster, name: wait_until(f"{name} in the archive", lambda: os.path.exists(os.path.join(archive, name)))
    walfile = "SELECT pg_walfile_name(pg_current_wal_lsn())"
    target, source = primary_and_standby(s, before_start=copies, archive_mode="on",
                                         archive_command=f"'test ! -f {archive}/%f && cp %p {archive}/%f'")
    oldest = target.value("SELECT pg_walfile_name(redo_lsn) FROM pg_control_checkpoint()")
    orphan, second = made["orphan"], made["second"]
    orphan.start()
    orphan.catch_up(target)
    orphan.promote()  # a test that nobody cleaned up
    orphan.sql("INSERT INTO acct VALUES (4001, 'orphan', 1)")
    name = orphan.value(walfile)
    orphan.sql("SELECT pg_switch_wal()")
    archived(orphan, name)
    archived(orphan, "00000002.history")
    orphan.stop()

    target.sql("UPDATE acct SET balance = balance + 5 WHERE id <= 10")
    target.checkpoint()
    target.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    name = target.value(walfile)
    target.sql("SELECT pg_switch_wal()")
    archived(target, name)
    target.sql("UPDATE acct SET balance = balance + 20 WHERE id <= 20")
    source.catch_up(target)
    source.promote()
    archived(source, "00000003.history")

    second.start()  # a copy of the old primary, opened as a second one on timeline 1
    for i in range(6):
        second.sql(f"INSERT INTO acct VALUES ({4100 + i}, 'second writer', 1)")
        name = second.value(walfile)
        second.sql("SELECT pg_switch_wal()")
        archived(second, name)
    second.stop()

    lost = few_lost(target)
    conflicts = []
    for i in range(2):
        lost.tx(f"INSERT INTO acct VALUES ({9010 + i}, 'lost, conflicting segment', 2)", ["public.acct"])
        conflicts.append(target.value(walfile))
        target.sql("SELECT pg_switch_wal()")
    lost.tx("INSERT INTO acct VALUES (9020, 'lost, last', 2)", ["public.acct"])
    lost.read_times()
    s.remember("target", target)
    target.stop()
    source_goes_on(source)
    for name in os.listdir(archive):
        if re.fullmatch("[0-9A-F]{24}", name) and name < oldest:
            os.remove(os.path.join(archive, name))
    s.save("""Failover with an archive (archive/) that several servers wrote to. A standby was promoted as a test and left 00000002.history
           and a segment of its timeline 2 there (an orphan: nothing descends from it). So the real new primary (source), which can read
           the archive, took timeline 3. A copy of the old primary was opened as a second primary on timeline 1 and archived segments
           whose names the old primary (target) used later with other content; the target's own archive_command refused to overwrite
           them. Both were stopped cleanly.""", lost, ["archived by the second writer, then written with other content by the target: "
           + ", ".join(conflicts) + "; the segments after these are in the archive from the second writer, too"], parts={"target": target, "source": source, "archive": archive},
           extra={"orphan_history": "00000002.history", "conflicting_segments": conflicts})


@scenario()
def snapshots(s):
    target, source = primary_and_standby(s)

    def atomic_snapshot(name):
        """All processes are stopped while the files are copied, so that the copy is of one moment."""
        position = target.value("SELECT pg_current_wal_flush_lsn()")
        pids = target.pids()
        try:
            send(pids, signal.SIGSTOP)
            run(["cp", "-a", target.data, os.path.join(s.dir, name)])
        finally:
            send(pids, signal.SIGCONT)
        return position

    target.checkpoint()
    run([target.bin("pg_basebackup"), "-h", target.run_dir, "-p", target.port, "-U", PG_USER, "-D", os.path.join(s.dir, "base-backup"),
         "-X", "fetch", "-c", "fast", "--manifest-checksums", "NONE"])
    positions = {"base-backup": target.lsn()}
    target.sql("INSERT INTO acct VALUES (3001, 'before snap-before', 1)")
    positions["snap-before"] = atomic_snapshot("snap-before")
    target.checkpoint()
    target.sql("UPDATE acct SET balance = balance + 10 WHERE id <= 20")
    source.catch_up(target)
    source.promote()
    lost = few_lost(target)
    positions["snap-after"] = atomic_snapshot("snap-after")
    lost.tx("INSERT INTO acct VALUES (9002, 'after snap-after', 2)", ["public.acct"])
    lost.read_times()
    s.remember("target", target)
    target.stop()
    source_goes_on(source)
    s.save("""Failover, with copies of the old primary (target) from before: base-backup/ (pg_basebackup, WAL included, with
           backup_label) and snap-before/ (all files at one moment while the server ran, postmaster.pid of then inside), both taken
           before the fork, and snap-after/, taken likewise after the fork. Target and source were stopped cleanly.""", lost,
           ["positions: the old primary's flush position when the copy was taken (base-backup: after it had ended)"],
           parts={p: os.path.join(s.dir, p) for p in ("target", "source", "base-backup", "snap-before", "snap-after")},
           extra={"positions": positions})


# ---------------------------------------------------------------- command line

def main():
    global PG_ROOT
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument("--pg-root", default=PG_ROOT, help="where the majors are (default %(default)s)")
    parser.add_argument("--scratch", help="where the servers run (default: a temporary directory)")
    parser.add_argument("--out", default=os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--keep", action="store_true", help="keep the scratch directories")
    options = parser.parse_args()
    if options.list:
        print("\n".join(SCENARIOS))
        return 0
    unknown = [name for name in options.scenarios if name not in SCENARIOS]
    if unknown:
        parser.error("no such scenario: " + ", ".join(unknown))
    PG_ROOT = os.path.abspath(options.pg_root)
    scratch = os.path.realpath(options.scratch) if options.scratch else tempfile.mkdtemp(prefix="forkpoint-")
    os.makedirs(scratch, exist_ok=True)
    make_dir(scratch)
    failed = []
    for name in options.scenarios or SCENARIOS:
        function, major = SCENARIOS[name]
        s = Scenario(name, major, scratch, os.path.abspath(options.out))
        begun = time.time()
        try:
            function(s)
            print(f"  {time.time() - begun:.0f} s", flush=True)
        except Exception as error:  # one scenario's failure does not end the others
            failed.append(name)
            print(f"{name}: FAILED: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            if options.keep:
                import traceback
                traceback.print_exc()
        finally:
            s.stop_all()
            if not options.keep:
                shutil.rmtree(s.dir, ignore_errors=True)
    if not options.scratch:
        shutil.rmtree(scratch, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
