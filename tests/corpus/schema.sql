-- Runs once through the proxy and once on a PostgreSQL without one. Statements end at a line's end.
CREATE TABLE patients (id int PRIMARY KEY, ward int, name text, ssn text UNIQUE, mrn varchar(12), born date, seen timestamptz, visits int4, account int8, grade int2, insured bool, token uuid, balance numeric(12,2), photo bytea, notes jsonb);
CREATE TABLE visits (id int PRIMARY KEY, patient_ssn text NOT NULL, reason text, cost int);
CREATE TABLE wards (id int PRIMARY KEY, name text UNIQUE, floor int);
CREATE TABLE "Odd Table" ("Secret Col" text, plain text);
CREATE SCHEMA other;
CREATE TABLE other.archive (id int, ssn text);
CREATE SEQUENCE plain_sequence;
INSERT INTO wards VALUES (1, 'Cardiology', 2), (2, 'Maternity', 3), (3, 'Emergency', 0);
INSERT INTO patients VALUES (1, 1, 'SEED Anna Weber', 'SEED-001', 'SEEDM1', '1961-02-03', '2024-05-06 07:08:09.123456+02', 3, 8000000001, 1, true, 'aaaaaaaa-0000-4000-8000-000000000001', 120.50, '\x00ff53454544', '{"allergy": "SEED penicillin"}');
INSERT INTO patients VALUES (2, 1, 'SEED Björn Ødegård', 'SEED-002', 'SEEDM2', '1984-11-30', '1999-12-31 23:59:59+00', 0, -8000000002, -2, false, 'aaaaaaaa-0000-4000-8000-000000000002', -0.07, '\x', '[1, 2.50, "SEED", null]');
INSERT INTO patients VALUES (3, 2, 'SEED O''Hara \ "quoted"', 'SEED-003', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO patients VALUES (4, NULL, '', 'SEED-004', '', '0099-01-01', 'infinity', 2147483647, 9223372036854775807, 32767, true, 'ffffffff-ffff-ffff-ffff-ffffffffffff', 9999999999.99, '\xdeadbeef', 'null');
INSERT INTO visits VALUES (1, 'SEED-001', 'SEED fracture', 120), (2, 'SEED-001', 'SEED control', 30), (3, 'SEED-002', NULL, 45), (4, 'SEED-none', 'SEED walk-in', 0);
INSERT INTO "Odd Table" VALUES ('SEED-odd', 'plain one'), (NULL, 'plain two');
INSERT INTO other.archive VALUES (1, 'not protected');
