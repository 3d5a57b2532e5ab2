-- Btree: splits on every level, deduplication, deletion, removal of pages and their reuse.
SELECT :SERVER_VERSION_NUM >= 110000 AS v11, :SERVER_VERSION_NUM >= 130000 AS v13 \gset
CREATE TABLE bt (id int, pad text, dup int);
INSERT INTO bt SELECT g, lpad(g::text, 200, '0'), g / 50 FROM generate_series(1, 3000) g;
CREATE INDEX bt_id ON bt (id);
CREATE INDEX bt_pad ON bt (pad) WITH (fillfactor = 100);
CREATE INDEX bt_dup ON bt (dup);
\if :v11
CREATE INDEX bt_incl ON bt (id) INCLUDE (pad);
\endif
INSERT INTO bt SELECT g, lpad(g::text, 200, '0'), g % 10 FROM generate_series(3001, 7000) g;
INSERT INTO bt SELECT g, lpad((g * 7919 % 100003)::text, 199, 'z'), g % 10 FROM generate_series(1, 4000) g;
INSERT INTO bt SELECT -g, lpad(g::text, 198, '0'), 3 FROM generate_series(1, 4000) g;
-- keys so wide that few fit on a page: a tall tree
CREATE TABLE tall (k text);
ALTER TABLE tall ALTER k SET STORAGE PLAIN;
CREATE INDEX tall_k ON tall (k);
INSERT INTO tall SELECT lpad(g::text, 1200, md5(g::text)) FROM generate_series(1, 400) g;
-- leaf pages lose everything, then are taken out, up to a root with one child
DELETE FROM bt WHERE id BETWEEN 500 AND 6500;
VACUUM bt;
DELETE FROM tall WHERE k < (SELECT k FROM tall ORDER BY k DESC LIMIT 1);
VACUUM tall;
SELECT txid_current(); SELECT txid_current();
VACUUM tall;
VACUUM bt;
INSERT INTO tall SELECT lpad(g::text, 1200, md5(g::text)) FROM generate_series(401, 800) g;
INSERT INTO bt SELECT g, lpad(g::text, 200, '0'), g % 10 FROM generate_series(500, 6500) g;
-- the one page that is left splits: the fast root moves up again
CREATE TABLE narrowed (k int);
CREATE INDEX narrowed_k ON narrowed (k) WITH (fillfactor = 10);
INSERT INTO narrowed SELECT g FROM generate_series(1, 20000) g;
DELETE FROM narrowed WHERE k < 19990;
VACUUM narrowed;
SELECT txid_current();
VACUUM narrowed;
INSERT INTO narrowed SELECT g FROM generate_series(20001, 21000) g;
-- entries that a scan found dead go before a page is split
CREATE TABLE killed (id int PRIMARY KEY, v int) WITH (fillfactor = 50);
INSERT INTO killed SELECT g, 0 FROM generate_series(1, 366) g;
DELETE FROM killed WHERE id BETWEEN 100 AND 200;
SET enable_seqscan = off; SET enable_bitmapscan = off;
SELECT count(*) FROM killed WHERE id BETWEEN 90 AND 210;
SELECT count(v) FROM killed WHERE id BETWEEN 90 AND 210;
INSERT INTO killed SELECT g, 0 FROM generate_series(367, 800) g;
CREATE TABLE churned (id int, v int);
CREATE INDEX churned_v ON churned (v);
CREATE INDEX churned_id ON churned (id);
INSERT INTO churned SELECT g, g % 7 FROM generate_series(1, 800) g;
DO $$ BEGIN FOR i IN 1..30 LOOP UPDATE churned SET v = v + 1 WHERE id <= 100; PERFORM count(v) FROM churned WHERE id <= 100; END LOOP; END $$;
\o /dev/null
SELECT format('UPDATE churned SET v = v + 1 WHERE id BETWEEN 100 AND 300; SELECT count(v) FROM churned WHERE id BETWEEN 1 AND 400; SELECT count(v) FROM churned WHERE v < 100;') FROM generate_series(1, 25) \gexec
\o
RESET enable_seqscan; RESET enable_bitmapscan;
DELETE FROM churned WHERE id % 2 = 0;
VACUUM churned;
REINDEX INDEX churned_v;
-- a unique key that many transactions version
\if :v13
CREATE TABLE duplicated (d int, x int);
CREATE INDEX duplicated_d ON duplicated (d);
INSERT INTO duplicated SELECT g % 5, g FROM generate_series(1, 5000) g;
DELETE FROM duplicated WHERE x % 3 = 0;
VACUUM duplicated;
INSERT INTO duplicated SELECT g % 5, g FROM generate_series(1, 3000) g;
\endif
-- nothing but cleanup of the meta page
CREATE TABLE appended (k int); CREATE INDEX appended_k ON appended (k);
INSERT INTO appended SELECT g FROM generate_series(1, 1000) g;
VACUUM appended;
DELETE FROM appended WHERE k BETWEEN 300 AND 800;
VACUUM appended;
INSERT INTO appended SELECT g FROM generate_series(1001, 2000) g;
VACUUM appended;
