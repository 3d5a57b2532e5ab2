-- What is logged for logical decoding only.
SELECT :SERVER_VERSION_NUM >= 110000 AS v11 \gset
SELECT pg_create_logical_replication_slot('decoder', 'pgoutput');
SELECT pg_create_physical_replication_slot('standby', true);
BEGIN; CREATE TABLE ddl (a int PRIMARY KEY); ALTER TABLE ddl ADD b int; SAVEPOINT s; ALTER TABLE ddl ADD c int; INSERT INTO ddl VALUES (1, 2, 3); COMMIT;
CREATE TABLE truncated (a int PRIMARY KEY, b serial);
CREATE TABLE refers (a int REFERENCES truncated);
INSERT INTO truncated SELECT g FROM generate_series(1, 10) g;
TRUNCATE truncated, refers;
TRUNCATE truncated RESTART IDENTITY CASCADE;
CREATE TABLE many_subs (a int PRIMARY KEY);
DO $$ BEGIN FOR i IN 1..70 LOOP BEGIN INSERT INTO many_subs VALUES (i); EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$;
UPDATE many_subs SET a = a + 1000;
DELETE FROM many_subs WHERE a % 2 = 0;
INSERT INTO many_subs SELECT g FROM generate_series(1, 20) g ON CONFLICT DO NOTHING;
-- catalogs rewritten while a slot still needs their old rows
CREATE TABLE for_catalog (a int);
ALTER TABLE for_catalog ADD b int;
VACUUM FULL pg_class;
VACUUM FULL pg_attribute;
CLUSTER pg_class USING pg_class_oid_index;
BEGIN; DROP TABLE for_catalog; CREATE TABLE for_catalog (a int); PREPARE TRANSACTION 'ddl in logical';
COMMIT PREPARED 'ddl in logical';
SELECT pg_drop_replication_slot('decoder');
SELECT pg_drop_replication_slot('standby');
