-- Gin: pending lists, posting trees, entries that split, vacuum of all of them.
SELECT :SERVER_VERSION_NUM >= 130000 AS v13 \gset
CREATE TABLE inverted (id int, words int[]);
CREATE INDEX inverted_words ON inverted USING gin (words) WITH (fastupdate = off);
INSERT INTO inverted SELECT g, ARRAY[1, 2, g % 10, g] FROM generate_series(1, 6000) g;
CREATE INDEX inverted_fast ON inverted USING gin (words) WITH (fastupdate = on, gin_pending_list_limit = 64);
INSERT INTO inverted SELECT g, ARRAY[1, g % 10, -g] FROM generate_series(1, 4000) g;
-- one row at a time: tails of the pending list
INSERT INTO inverted VALUES (1, '{1,2,3}');
INSERT INTO inverted VALUES (2, (SELECT array_agg(g) FROM generate_series(1, 2500) g));
INSERT INTO inverted VALUES (3, '{}'), (4, NULL), (5, '{NULL}');
SELECT gin_clean_pending_list('inverted_fast');
-- so many rows below one key that its tree gets inner pages
INSERT INTO inverted SELECT g, ARRAY[1] FROM generate_series(1, 30000) g;
SELECT gin_clean_pending_list('inverted_fast');
INSERT INTO inverted SELECT g, ARRAY[g % 4] FROM generate_series(1, 3000) g;
-- rows in the middle of posting lists
DELETE FROM inverted WHERE id % 3 = 0;
VACUUM inverted;
INSERT INTO inverted SELECT g, ARRAY[1, 2, 5, g] FROM generate_series(1, 9000) g;
VACUUM inverted;
DELETE FROM inverted WHERE id BETWEEN 2000 AND 27000;
VACUUM inverted;
DELETE FROM inverted WHERE id % 5 <> 0;
VACUUM inverted;
INSERT INTO inverted SELECT g, ARRAY[1, g] FROM generate_series(1, 5000) g;
VACUUM inverted;
-- keys so wide that their tree gets inner pages that split
CREATE TABLE wide_keys (w text[]);
ALTER TABLE wide_keys ALTER w SET STORAGE PLAIN;
CREATE INDEX ON wide_keys USING gin (w) WITH (fastupdate = off);
INSERT INTO wide_keys SELECT ARRAY[(SELECT string_agg(md5((g * 100 + h)::text), '') FROM generate_series(1, 40) h)] FROM generate_series(1, 300) g;
-- lexemes
CREATE TABLE texts (t tsvector);
CREATE INDEX ON texts USING gin (t);
INSERT INTO texts SELECT to_tsvector('simple', string_agg(md5((g * 100 + h)::text), ' ')) FROM generate_series(1, 100) g, generate_series(1, 30) h GROUP BY g;
VACUUM texts;
DELETE FROM texts;
VACUUM texts;
CREATE UNLOGGED TABLE gin_unlogged (t int[]);
CREATE INDEX ON gin_unlogged USING gin (t);
