-- Generic: an index of an extension that has no resource manager of its own.
SELECT :'extension' = 'bloom' AS bloom \gset
\if :bloom
CREATE EXTENSION bloom;
CREATE TABLE bloomed (a int, b int);
CREATE INDEX ON bloomed USING bloom (a, b);
INSERT INTO bloomed SELECT g, g FROM generate_series(1, 300) g;
DELETE FROM bloomed WHERE a % 2 = 0;
VACUUM bloomed;
\else
CREATE EXTENSION vector;
CREATE TABLE vectors (v vector(3));
CREATE INDEX ON vectors USING hnsw (v vector_l2_ops);
INSERT INTO vectors SELECT ARRAY[g, g % 7, g % 11]::vector FROM generate_series(1, 100) g;
DELETE FROM vectors WHERE ctid::text LIKE '%1)';
VACUUM vectors;
\endif
