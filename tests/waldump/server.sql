-- Databases, tablespaces, full-page images of every kind, backups, checkpoints and what the server logs of itself.
SELECT :SERVER_VERSION_NUM >= 140000 AS v14, :SERVER_VERSION_NUM >= 150000 AS v15, :SERVER_VERSION_NUM >= 190000 AS v19 \gset
CREATE TABLESPACE elsewhere LOCATION :'tablespace';
CREATE TABLE moved (a int) TABLESPACE elsewhere;
INSERT INTO moved SELECT g FROM generate_series(1, 100) g;
ALTER TABLE moved SET TABLESPACE pg_default;
\if :v15
CREATE DATABASE by_files STRATEGY file_copy;
CREATE DATABASE by_wal STRATEGY wal_log;
ALTER DATABASE by_wal SET TABLESPACE elsewhere;
DROP DATABASE by_wal;
\else
CREATE DATABASE by_files;
\endif
CREATE DATABASE in_tablespace TABLESPACE elsewhere;
DROP DATABASE in_tablespace;
DROP DATABASE by_files;
DROP TABLESPACE elsewhere;
CREATE TABLE images (id int PRIMARY KEY, v text);
INSERT INTO images SELECT g, repeat('image', g % 40) FROM generate_series(1, 2000) g;
CREATE INDEX images_gin ON images USING gin (to_tsvector('simple', v));
SET wal_compression = on;
CHECKPOINT;
UPDATE images SET v = v || '!' WHERE id % 20 = 0;
\if :v15
SET wal_compression = 'pglz';
CHECKPOINT;
UPDATE images SET v = v || '!' WHERE id % 20 = 0;
SELECT setting ~ 'x' AS ignored, enumvals @> '{lz4}' AS lz4, enumvals @> '{zstd}' AS zstd FROM pg_settings WHERE name = 'wal_compression' \gset
\if :lz4
SET wal_compression = 'lz4';
CHECKPOINT;
UPDATE images SET v = v || '!' WHERE id % 20 = 0;
\endif
\if :zstd
SET wal_compression = 'zstd';
CHECKPOINT;
UPDATE images SET v = v || '!' WHERE id % 20 = 0;
\endif
\endif
SET wal_compression = off;
SET wal_consistency_checking = 'all';
UPDATE images SET v = v || '!' WHERE id % 20 = 1;
INSERT INTO images SELECT g, 'checked ' || g FROM generate_series(3001, 3300) g;
INSERT INTO inverted SELECT g, ARRAY[1, 2, 3, g] FROM generate_series(1, 300) g;
DELETE FROM inverted WHERE id < 200;
VACUUM inverted;
VACUUM images;
RESET wal_consistency_checking;
RESET wal_compression;
-- hint bits on pages with checksums
CHECKPOINT;
SELECT count(*) FROM images;
SELECT count(*) FROM inverted;
SELECT pg_create_restore_point('a point to return to');
\if :v15
SELECT pg_backup_start('label', true);
SELECT pg_backup_stop(false);
\else
SELECT pg_start_backup('label', true, false);
SELECT pg_stop_backup(false, false);
\endif
SELECT pg_switch_wal();
ALTER SYSTEM SET full_page_writes = off;
SELECT pg_reload_conf();
SELECT pg_sleep(0.3);
CHECKPOINT;
ALTER SYSTEM RESET full_page_writes;
SELECT pg_reload_conf();
SELECT pg_sleep(0.3);
CHECKPOINT;
-- so many numbers that a new batch of them is announced
SELECT count(lo_create(0)) FROM generate_series(1, 9000);

\if :v14
SELECT pg_log_backend_memory_contexts(pg_backend_pid());
\endif
