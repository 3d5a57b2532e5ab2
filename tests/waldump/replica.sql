-- With wal_level = replica; from 19 on the first logical slot turns logical decoding on, the last one's end turns it off.
SELECT :SERVER_VERSION_NUM >= 190000 AS v19 \gset
CREATE TABLE only_replica (a int PRIMARY KEY, b text);
INSERT INTO only_replica SELECT g, 'r' FROM generate_series(1, 500) g;
UPDATE only_replica SET b = 's' WHERE a % 3 = 0;
DELETE FROM only_replica WHERE a % 5 = 0;
TRUNCATE only_replica;
DO $$ BEGIN FOR i IN 1..70 LOOP BEGIN INSERT INTO only_replica VALUES (i); EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$;
\if :v19
SELECT pg_create_logical_replication_slot('decoder', 'pgoutput');
INSERT INTO only_replica VALUES (-1);
SELECT pg_drop_replication_slot('decoder');
\endif
