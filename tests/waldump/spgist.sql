-- SPGist: every kind of node.
CREATE TABLE tries (id int, t text);
CREATE INDEX tries_t ON tries USING spgist (t);
INSERT INTO tries SELECT g, md5(g::text) FROM generate_series(1, 3000) g;
-- long common prefixes, later split
INSERT INTO tries SELECT g, 'prefix that all share ' || g FROM generate_series(1, 2000) g;
INSERT INTO tries SELECT g, 'prefix that ' || g FROM generate_series(1, 200) g;
INSERT INTO tries SELECT g, 'pre' || chr(32 + g % 200) || repeat(chr(65 + g % 26), g % 300) FROM generate_series(1, 2000) g;
INSERT INTO tries SELECT g, 'one value, over and over' FROM generate_series(1, 1000) g;
INSERT INTO tries SELECT g, NULL FROM generate_series(1, 1500) g;
CREATE TABLE quads (id int, p point);
CREATE INDEX quads_p ON quads USING spgist (p);
CREATE INDEX quads_kd ON quads USING spgist (p kd_point_ops);
INSERT INTO quads SELECT g, point(g * 7919 % 1009, g * 104729 % 1013) FROM generate_series(1, 4000) g;
INSERT INTO quads SELECT g, point(1, 1) FROM generate_series(1, 500) g;
CREATE TABLE nets (id int, a inet);
CREATE INDEX nets_a ON nets USING spgist (a);
INSERT INTO nets SELECT g, ('10.' || g % 250 || '.' || g / 250 || '.1')::inet FROM generate_series(1, 3000) g;
-- a few rows only: the root is a leaf
CREATE TABLE trie_small (t text);
CREATE INDEX trie_small_t ON trie_small USING spgist (t);
INSERT INTO trie_small SELECT md5(g::text) FROM generate_series(1, 20) g;
INSERT INTO trie_small SELECT NULL FROM generate_series(1, 20) g;
DELETE FROM trie_small WHERE t > '8' OR t IS NULL;
VACUUM trie_small;
DELETE FROM tries WHERE id % 3 = 0;
VACUUM tries;
DELETE FROM quads WHERE id % 2 = 0;
VACUUM quads;
SELECT txid_current();
VACUUM tries;
INSERT INTO tries SELECT g, md5((g * 3)::text) FROM generate_series(1, 3000) g;
VACUUM quads;
SELECT txid_current();
VACUUM tries;
DELETE FROM tries;
VACUUM tries;
-- wide values: chains that died stand in the way of what comes next, pages are too full for a prefix that is split
CREATE TABLE trie_wide (id int, t text);
ALTER TABLE trie_wide ALTER t SET STORAGE PLAIN;
CREATE INDEX trie_wide_t ON trie_wide USING spgist (t);
INSERT INTO trie_wide SELECT g, chr(65 + g % 26) || repeat(chr(97 + g % 23), 700 + g % 200) || g FROM generate_series(1, 600) g;
DELETE FROM trie_wide WHERE id % 26 < 20;
VACUUM trie_wide;
INSERT INTO trie_wide SELECT g, chr(65 + g % 26) || repeat(chr(97 + g % 23), 800 + g % 100) || g FROM generate_series(1, 600) g;
INSERT INTO trie_wide SELECT g, chr(65 + g % 26) || repeat(chr(97 + g % 23), g % 700) || chr(65 + g % 7) FROM generate_series(1, 600) g;
CREATE UNLOGGED TABLE trie_unlogged (t text);
CREATE INDEX ON trie_unlogged USING spgist (t);
