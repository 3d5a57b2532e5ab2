-- With wal_level = minimal: relations made in the same transaction are not logged, but some need numbers in the WAL.
BEGIN;
CREATE TABLE skipped (id int, p point);
CREATE INDEX skipped_p ON skipped USING gist (p);
INSERT INTO skipped SELECT g, point(g % 100, g / 100) FROM generate_series(1, 3000) g;
COMMIT;
BEGIN;
CREATE TABLE skipped_too (a int PRIMARY KEY);
INSERT INTO skipped_too SELECT g FROM generate_series(1, 1000) g;
TRUNCATE skipped_too;
INSERT INTO skipped_too SELECT g FROM generate_series(1, 1000) g;
COMMIT;
