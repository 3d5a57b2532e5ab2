#!/usr/bin/env bash
# make.sh PEERS OUT: makes replication slots on every server in PEERS/MAJOR/bin (10 and later), invalidates some by
# max_slot_wal_keep_size (13+), and keeps in OUT/MAJOR each slot's state file as it lies after a clean stop, and what
# pg_replication_slots said before (slots.json). Run as a user that may run a server.
set -u
peers=$1; out=$2; psql=$peers/15/bin/psql
for m in 10 11 12 13 14 15 16 17 18 19; do
  b=$peers/$m/bin; d=$(mktemp -d); port=$((7400 + m))
  "$b/initdb" -D "$d/data" -U postgres -A trust --no-sync >"$d/initdb.log" 2>&1 || { echo "$m: initdb failed"; continue; }
  printf '%s\n' "port=$port" "listen_addresses=''" "unix_socket_directories='$d'" wal_level=logical fsync=off \
    max_wal_senders=5 max_replication_slots=10 max_prepared_transactions=5 >>"$d/data/postgresql.conf"
  "$b/pg_ctl" -D "$d/data" -l "$d/log" -w start >/dev/null || { echo "$m: no start"; continue; }
  q() { local args=(); for s in "$@"; do args+=(-c "$s"); done; "$psql" -h "$d" -p $port -U postgres -AtX "${args[@]}"; }
  q "create table t(i int)" "select pg_create_physical_replication_slot('phys_unused')" \
    "select pg_create_physical_replication_slot('phys_reserved', true)" \
    "select pg_create_logical_replication_slot('logical_one', 'pgoutput')" >/dev/null
  q "select pg_create_logical_replication_slot('logical_test', 'test_decoding')" >/dev/null 2>&1 # needs contrib
  [ $m -lt 14 ] || q "select pg_create_logical_replication_slot('logical_2pc', 'pgoutput', false, true)" >/dev/null
  [ $m -lt 17 ] || q "select pg_create_logical_replication_slot('logical_failover', 'pgoutput', false, false, true)" >/dev/null
  q "insert into t select generate_series(1,1000)" "select pg_switch_wal()" "insert into t values (1)" >/dev/null
  q "select pg_replication_slot_advance('logical_one', pg_current_wal_lsn())" >/dev/null 2>&1 # 11+
  if [ $m -ge 13 ]; then
    q "alter system set max_slot_wal_keep_size='1MB'" "select pg_reload_conf()" >/dev/null
    for _ in 1 2 3 4; do q "insert into t values(1)" "select pg_switch_wal()" >/dev/null; done
    q checkpoint checkpoint >/dev/null
  fi
  q "select pg_create_logical_replication_slot('logical_live', 'pgoutput')" \
    "select pg_create_physical_replication_slot('phys_live', true)" checkpoint >/dev/null
  rm -rf "${out:?}/$m"; mkdir -p "$out/$m"
  q "select json_agg(s order by slot_name) from pg_replication_slots s" >"$out/$m/slots.json"
  "$b/pg_ctl" -D "$d/data" -m fast -w stop >/dev/null
  for s in "$d"/data/pg_replslot/*; do cp "$s/state" "$out/$m/$(basename "$s").state"; done
  echo "$m: $(cd "$out/$m" && echo *)"
  rm -rf "$d"
done
