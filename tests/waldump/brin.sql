-- BRIN: summaries made, moved, widened in place, taken back.
CREATE TABLE ranged (id int, t text);
CREATE INDEX ranged_id ON ranged USING brin (id) WITH (pages_per_range = 1);
INSERT INTO ranged SELECT g, repeat('r', 100) FROM generate_series(1, 3000) g;
SELECT brin_summarize_new_values('ranged_id');
SELECT brin_desummarize_range('ranged_id', 3);
SELECT brin_summarize_new_values('ranged_id');
INSERT INTO ranged SELECT g, 'r' FROM generate_series(-100, 3200) g;
UPDATE ranged SET id = id + 100000 WHERE id % 10 = 0;
-- summaries that grow until they need another page
CREATE TABLE ranged_text (t text);
ALTER TABLE ranged_text ALTER t SET STORAGE PLAIN;
CREATE INDEX ranged_text_t ON ranged_text USING brin (t) WITH (pages_per_range = 1);
INSERT INTO ranged_text SELECT 'm' FROM generate_series(1, 6000) g;
SELECT brin_summarize_new_values('ranged_text_t');
SELECT ctid FROM ranged_text LIMIT 0;
DELETE FROM ranged_text WHERE ctid::text LIKE '%0)';
VACUUM ranged_text;
INSERT INTO ranged_text SELECT repeat('z', 500 + g % 100) FROM generate_series(1, 200) g;
INSERT INTO ranged_text SELECT repeat('a', 1200) FROM generate_series(1, 200) g;
UPDATE ranged_text SET t = 'x' || repeat(chr(65 + (random() * 25)::int), (random() * 900)::int) WHERE random() < 0.3;
SELECT brin_summarize_new_values('ranged_text_t');
-- so many ranges that the map of ranges needs a second page
CREATE TABLE ranged_long (a int, pad text) WITH (fillfactor = 10);
ALTER TABLE ranged_long ALTER pad SET STORAGE PLAIN;
CREATE INDEX ranged_long_a ON ranged_long USING brin (a) WITH (pages_per_range = 1);
INSERT INTO ranged_long SELECT g, repeat('p', 3000) FROM generate_series(1, 1400) g;
SELECT brin_summarize_new_values('ranged_long_a');
VACUUM ranged_long;
CREATE UNLOGGED TABLE brin_unlogged (a int);
CREATE INDEX ON brin_unlogged USING brin (a);
