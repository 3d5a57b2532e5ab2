-- Heap, Heap2, Transaction, MultiXact, Standby, RelMap, Storage: every way to change a table.
SELECT :SERVER_VERSION_NUM >= 110000 AS v11, :SERVER_VERSION_NUM >= 140000 AS v14, :SERVER_VERSION_NUM >= 150000 AS v15 \gset
CREATE TABLE plain (id int PRIMARY KEY, a int, b text) WITH (fillfactor = 70);
INSERT INTO plain SELECT g, g, repeat('x', g % 300) FROM generate_series(1, 2000) g;
UPDATE plain SET a = a + 1 WHERE id % 3 = 0;                  -- HOT
UPDATE plain SET id = id + 100000 WHERE id % 7 = 0;           -- not HOT, keys updated
UPDATE plain SET b = repeat('y', 700) WHERE id % 5 = 0;       -- to other pages
DELETE FROM plain WHERE id % 11 = 0;
SELECT count(*) FROM plain;
VACUUM plain;
VACUUM FREEZE plain;
UPDATE plain SET a = a + 1;                                   -- clears visibility
VACUUM plain;
DELETE FROM plain WHERE id > 500;
VACUUM plain;
VACUUM (FREEZE) plain;
-- a page that holds one tuple: an update to a page made new
CREATE TABLE wide (id int, a int, pad text) WITH (fillfactor = 100);
ALTER TABLE wide ALTER pad SET STORAGE PLAIN;
INSERT INTO wide SELECT g, 0, repeat('w', 5000) FROM generate_series(1, 20) g;
UPDATE wide SET a = 1;
UPDATE wide SET a = 2, id = -id;
-- values out of line and compressed
CREATE TABLE fat (id int PRIMARY KEY, v text);
INSERT INTO fat SELECT g, (SELECT string_agg(md5(random()::text || g || h), '') FROM generate_series(1, 300) h) FROM generate_series(1, 10) g;
UPDATE fat SET v = v || 'more' WHERE id < 4;
DELETE FROM fat WHERE id > 8;
-- many rows in one record, into an empty page and into a used one
CREATE TABLE copied (a int, b text);
COPY copied FROM PROGRAM 'seq -f "%g,row" 1 3000' CSV;
COPY copied FROM PROGRAM 'seq -f "%g,more" 1 5' CSV;
COPY copied FROM PROGRAM 'seq -f "%g,frozen" 1 5' CSV;
BEGIN;
CREATE TABLE frozen (a int, b text);
COPY frozen FROM PROGRAM 'seq -f "%g,frozen" 1 2000' WITH (FORMAT CSV, FREEZE);
COMMIT;
-- speculative insertion
CREATE TABLE upserted (id int PRIMARY KEY, n int);
INSERT INTO upserted SELECT g, 0 FROM generate_series(1, 50) g ON CONFLICT (id) DO NOTHING;
INSERT INTO upserted SELECT g, 0 FROM generate_series(25, 75) g ON CONFLICT (id) DO UPDATE SET n = upserted.n + 1;
-- locks on rows, combined with prepared transactions so that one session is enough
CREATE TABLE locked (id int PRIMARY KEY, n int, t text);
INSERT INTO locked SELECT g, g, 'row' FROM generate_series(1, 100) g;
BEGIN; SELECT count(*) FROM (SELECT 1 FROM locked WHERE id <= 10 FOR KEY SHARE) s; PREPARE TRANSACTION 'one';
BEGIN; SELECT count(*) FROM (SELECT 1 FROM locked WHERE id <= 5 FOR SHARE) s; PREPARE TRANSACTION 'two';
BEGIN; UPDATE locked SET n = n + 1 WHERE id <= 10 AND id > 5; PREPARE TRANSACTION 'three';
BEGIN; SELECT count(*) FROM (SELECT 1 FROM locked WHERE id <= 10 FOR KEY SHARE) s; COMMIT;
BEGIN; SELECT count(*) FROM (SELECT 1 FROM locked WHERE id BETWEEN 20 AND 30 FOR NO KEY UPDATE) s; COMMIT;
BEGIN; SELECT count(*) FROM (SELECT 1 FROM locked WHERE id BETWEEN 20 AND 30 FOR UPDATE) s; ROLLBACK;
COMMIT PREPARED 'one'; ROLLBACK PREPARED 'two'; COMMIT PREPARED 'three';
BEGIN; UPDATE locked SET t = 'long ' || repeat('z', 100) WHERE id > 90; PREPARE TRANSACTION 'four';
BEGIN; SELECT count(*) FROM (SELECT 1 FROM locked FOR KEY SHARE) s; DELETE FROM locked WHERE id = 1; COMMIT;
COMMIT PREPARED 'four';
-- prepared transactions that carry all they can: subtransactions, files, invalidations, statistics
BEGIN;
CREATE TABLE from_prepared (a int PRIMARY KEY);
SAVEPOINT s; INSERT INTO from_prepared VALUES (1); SAVEPOINT t; INSERT INTO from_prepared VALUES (2); ROLLBACK TO t; INSERT INTO from_prepared VALUES (3);
DROP TABLE frozen;
PREPARE TRANSACTION 'carries all';
COMMIT PREPARED 'carries all';
BEGIN; CREATE TABLE never (a int PRIMARY KEY); SAVEPOINT s; INSERT INTO never VALUES (1); DROP TABLE copied; PREPARE TRANSACTION 'carries all, in vain';
ROLLBACK PREPARED 'carries all, in vain';
BEGIN; INSERT INTO locked VALUES (1000); PREPARE TRANSACTION E'strange " name\\ with \x01'; ROLLBACK PREPARED E'strange " name\\ with \x01';
-- subtransactions: one commits, one aborts, more than 64 are open
DO $$ BEGIN
  FOR i IN 1..150 LOOP
    BEGIN INSERT INTO locked VALUES (2000 + i); EXCEPTION WHEN division_by_zero THEN NULL; END;
    BEGIN INSERT INTO locked VALUES (3000 + i); PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END;
  END LOOP;
END $$;
DO $$ BEGIN
  FOR i IN 1..3000 LOOP
    BEGIN INSERT INTO locked VALUES (5000 + i); EXCEPTION WHEN division_by_zero THEN NULL; END;
  END LOOP;
END $$;
BEGIN; CREATE TABLE aborted (a int PRIMARY KEY); INSERT INTO aborted VALUES (1); SAVEPOINT s; INSERT INTO aborted VALUES (2); ROLLBACK;
BEGIN; SET LOCAL synchronous_commit = off; INSERT INTO locked VALUES (1001); COMMIT;
BEGIN; SET LOCAL synchronous_commit = remote_apply; INSERT INTO locked VALUES (1002); COMMIT;
-- every status that a member of a multixact can have
BEGIN;
SELECT count(*) FROM (SELECT 1 FROM locked WHERE id BETWEEN 40 AND 49 FOR KEY SHARE) s;
SAVEPOINT s;
SELECT count(*) FROM (SELECT 1 FROM locked WHERE id BETWEEN 40 AND 45 FOR UPDATE) s;
DELETE FROM locked WHERE id BETWEEN 46 AND 47;
UPDATE locked SET id = -id WHERE id BETWEEN 48 AND 49;
COMMIT;
-- a snapshot of running transactions while one has more subtransactions than the server remembers
BEGIN;
DO $$ BEGIN
  FOR i IN 1..70 LOOP
    BEGIN INSERT INTO locked VALUES (9000 + i); EXCEPTION WHEN division_by_zero THEN NULL; END;
  END LOOP;
END $$;
PREPARE TRANSACTION 'many subtransactions';
CHECKPOINT;
COMMIT PREPARED 'many subtransactions';
-- so many multixacts that their pages go over to the next
CREATE TABLE shared_by_many (id int PRIMARY KEY);
INSERT INTO shared_by_many SELECT g FROM generate_series(1, 2500) g;
DO $$ BEGIN
  PERFORM 1 FROM shared_by_many FOR KEY SHARE;
  FOR i IN 1..2500 LOOP
    BEGIN PERFORM 1 FROM shared_by_many WHERE id = i FOR NO KEY UPDATE; EXCEPTION WHEN division_by_zero THEN NULL; END;
  END LOOP;
END $$;
UPDATE shared_by_many SET id = -id WHERE id % 50 = 0;
-- files: made, cut short, dropped, rewritten
CREATE TABLE cut (a int, b text);
INSERT INTO cut SELECT g, repeat('c', 500) FROM generate_series(1, 2000) g;
DELETE FROM cut WHERE a > 100;
VACUUM cut;
TRUNCATE cut;
TRUNCATE plain, wide RESTART IDENTITY CASCADE;
INSERT INTO plain SELECT g, g, 'again' FROM generate_series(1, 500) g;
CLUSTER plain USING plain_pkey;
VACUUM FULL plain;
VACUUM FULL pg_class;
REINDEX TABLE pg_class;
VACUUM FULL pg_authid;
ALTER TABLE plain ALTER a TYPE bigint;
CREATE UNLOGGED TABLE unlogged (a int PRIMARY KEY, b int GENERATED ALWAYS AS IDENTITY);
INSERT INTO unlogged SELECT g FROM generate_series(1, 100) g;
CREATE TEMP TABLE temporary AS SELECT 1 AS a;
CREATE MATERIALIZED VIEW seen AS SELECT * FROM plain;
REFRESH MATERIALIZED VIEW seen;
DROP MATERIALIZED VIEW seen;
ANALYZE;
BEGIN; LOCK TABLE plain IN ACCESS EXCLUSIVE MODE; INSERT INTO plain VALUES (-1); COMMIT;
-- one row of a partitioned table goes to another partition
\if :v11
CREATE TABLE parted (a int, b int) PARTITION BY RANGE (a);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20);
INSERT INTO parted SELECT g, g FROM generate_series(0, 19) g;
UPDATE parted SET a = a + 10 WHERE a < 5;
TRUNCATE parted;
\endif
-- rows as replication identity
CREATE TABLE with_full_identity (a int, b text);
ALTER TABLE with_full_identity REPLICA IDENTITY FULL;
INSERT INTO with_full_identity SELECT g, 'old' FROM generate_series(1, 20) g;
UPDATE with_full_identity SET b = 'new' WHERE a % 2 = 0;
DELETE FROM with_full_identity WHERE a % 5 = 0;
-- sequences, large objects, messages, origins
CREATE SEQUENCE counted;
SELECT count(nextval('counted')) FROM generate_series(1, 100);
SELECT setval('counted', 1000);
ALTER SEQUENCE counted RESTART;
SELECT lo_from_bytea(0, decode(repeat('ab', 5000), 'hex')) AS lo \gset
SELECT lo_unlink(:lo);
SELECT pg_logical_emit_message(false, 'prefix', 'not in a transaction');
SELECT pg_logical_emit_message(true, 'prefix with "quotes"', E'\\x00ff10'::bytea);
SELECT pg_logical_emit_message(true, '', repeat('long', 100));
SELECT pg_replication_origin_create('elsewhere');
SELECT pg_replication_origin_advance('elsewhere', 'AB/CDEF0123');
SELECT pg_replication_origin_session_setup('elsewhere');
BEGIN;
SELECT pg_replication_origin_xact_setup('12/345678', '2024-02-29 12:34:56.789+00');
INSERT INTO locked VALUES (1003);
COMMIT;
BEGIN; SELECT pg_replication_origin_xact_setup('12/345679', '2024-02-29 12:34:57+00'); INSERT INTO locked VALUES (1004); PREPARE TRANSACTION 'from elsewhere';
COMMIT PREPARED 'from elsewhere';
BEGIN; SELECT pg_replication_origin_xact_setup('12/345680', '2024-02-29 12:34:57+00'); INSERT INTO locked VALUES (1005); ROLLBACK;
SELECT pg_replication_origin_session_reset();
SELECT pg_replication_origin_drop('elsewhere');
CREATE INDEX CONCURRENTLY later ON locked (n);
DROP INDEX CONCURRENTLY later;
DROP TABLE fat;
