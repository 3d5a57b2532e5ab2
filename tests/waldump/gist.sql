-- Gist: splits of leaves and of inner pages, deletion of entries and pages, reuse.
CREATE TABLE shapes (id int, p point);
CREATE INDEX shapes_p ON shapes USING gist (p) WITH (buffering = off);
INSERT INTO shapes SELECT g, point(g % 173, g / 173) FROM generate_series(1, 8000) g;
CREATE INDEX shapes_buffered ON shapes USING gist (p) WITH (buffering = on);
CREATE INDEX shapes_built ON shapes USING gist (p);
INSERT INTO shapes SELECT g, point(g % 97, g / 97) FROM generate_series(1, 3000) g;
DELETE FROM shapes WHERE id BETWEEN 1000 AND 7000;
VACUUM shapes;
SELECT txid_current(); SELECT txid_current();
VACUUM shapes;
INSERT INTO shapes SELECT g, point(g % 173, g / 173) FROM generate_series(1000, 7000) g;
-- an index over ranges whose leaves are emptied wholly
CREATE TABLE spans (id int, r int4range);
CREATE INDEX spans_r ON spans USING gist (r);
INSERT INTO spans SELECT g, int4range(g, g + 3) FROM generate_series(1, 5000) g;
DELETE FROM spans WHERE id > 200;
VACUUM spans;
SELECT txid_current();
VACUUM spans;
INSERT INTO spans SELECT g, int4range(g, g + 3) FROM generate_series(1, 5000) g;
-- entries that an ordered scan found dead, removed before a page is split
CREATE TABLE gist_killed (id int, p point);
CREATE INDEX gist_killed_p ON gist_killed USING gist (p);
-- (the root is left alone: the index needs several pages)
INSERT INTO gist_killed SELECT g, point(g, g) FROM generate_series(1, 1000) g;
DELETE FROM gist_killed WHERE id % 2 = 0;
SET enable_seqscan = off; SET enable_bitmapscan = off;
SELECT count(id) FROM gist_killed WHERE p <@ box '((0,0),(1000,1000))';
SELECT count(id) FROM gist_killed WHERE p <@ box '((0,0),(1000,1000))';
INSERT INTO gist_killed SELECT g, point(g, g) FROM generate_series(1, 1000) g;
RESET enable_seqscan; RESET enable_bitmapscan;
CREATE UNLOGGED TABLE gist_unlogged (p point);
CREATE INDEX ON gist_unlogged USING gist (p);
INSERT INTO gist_unlogged SELECT point(g, g) FROM generate_series(1, 1000) g;
