-- Hash: buckets split, overflow pages come and go.
CREATE TABLE hashed (k int, pad text);
CREATE INDEX hashed_k ON hashed USING hash (k);
INSERT INTO hashed SELECT g, 'h' FROM generate_series(1, 6000) g;
CREATE INDEX hashed_small ON hashed USING hash (k) WITH (fillfactor = 10);
-- one bucket with a long chain
INSERT INTO hashed SELECT 7, 'chain' FROM generate_series(1, 4000) g;
INSERT INTO hashed SELECT g, 'h' FROM generate_series(6001, 12000) g;
DELETE FROM hashed WHERE k = 7 AND ctid > '(20,0)';
VACUUM hashed;
INSERT INTO hashed SELECT 7, 'chain again' FROM generate_series(1, 3000) g;
DELETE FROM hashed WHERE k % 3 = 0;
VACUUM hashed;
-- a chain whose middle is emptied: its rest moves forward
CREATE TABLE chained (k int, n int);
CREATE INDEX chained_k ON chained USING hash (k);
INSERT INTO chained SELECT g % 2, g FROM generate_series(1, 6000) g;
DELETE FROM chained WHERE n % 4 < 3;
VACUUM chained;
INSERT INTO chained SELECT g % 2, g FROM generate_series(1, 4000) g;
DELETE FROM chained WHERE n < 2500;
VACUUM chained;
DELETE FROM chained WHERE n % 10 <> 0;
VACUUM chained;
-- entries that a scan found dead, cleaned at the next insertion into the full page
CREATE TABLE hash_killed (k int, n int);
CREATE INDEX hash_killed_k ON hash_killed USING hash (k);
INSERT INTO hash_killed SELECT 1, g FROM generate_series(1, 390) g;
SET enable_seqscan = off; SET enable_bitmapscan = off;
DELETE FROM hash_killed WHERE n <= 300;
SELECT count(n) FROM hash_killed WHERE k = 1;
SELECT count(n) FROM hash_killed WHERE k = 1;
INSERT INTO hash_killed SELECT 1, g FROM generate_series(1, 100) g;
DELETE FROM hash_killed WHERE n <= 300;
SELECT count(n) FROM hash_killed WHERE k = 1;
INSERT INTO hash_killed SELECT 1, g FROM generate_series(1, 400) g;
-- the same, found by VACUUM
CREATE TABLE hash_marked (k int, n int);
CREATE INDEX hash_marked_k ON hash_marked USING hash (k);
INSERT INTO hash_marked SELECT 1, g FROM generate_series(1, 1000) g;
DELETE FROM hash_marked WHERE n % 2 = 0;
SELECT count(n) FROM hash_marked WHERE k = 1;
SELECT count(n) FROM hash_marked WHERE k = 1;
VACUUM hash_marked;
RESET enable_seqscan; RESET enable_bitmapscan;
CREATE UNLOGGED TABLE hash_unlogged (k int);
CREATE INDEX ON hash_unlogged USING hash (k);
