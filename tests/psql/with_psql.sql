-- A ward's day at psql's prompt. :mark stands in each protected text.
\set ON_ERROR_STOP off
CREATE TABLE wards (id int PRIMARY KEY, name text UNIQUE, floor int);
CREATE TABLE patients (id int PRIMARY KEY, ward int REFERENCES wards, name text, ssn text UNIQUE, mrn varchar(12), born date, seen timestamptz, visits int4, account int8, grade int2, insured bool, token uuid, balance numeric(12,2), photo bytea, notes jsonb);
CREATE TABLE visits (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, patient_ssn text NOT NULL, reason text, cost int);
INSERT INTO wards VALUES (1, 'Cardiology', 2), (2, 'Maternity', 3);
\d wards
\dt
\di
\l no_such_database
\df no_such_function

-- Variables, as text and as identifiers.
\set first '''' :mark '-1'''
\set name :mark ' O''Hara \\ "quoted" äöü'
\set of patients
INSERT INTO :"of" (id, ward, name, ssn, born, visits, balance, notes) VALUES (1, 1, :'name', :first, '1961-02-03', 3, 12.5, '{"a": [1]}') RETURNING id, name, ssn;
INSERT INTO patients (id, ward, name, ssn, born, visits, insured) SELECT 2, 1, 'nobody', 'plain', '2000-01-01', 1, true WHERE false;
SELECT * FROM patients WHERE ssn = :first;

-- The last row becomes variables, the variables another statement.
SELECT name AS found, born, balance FROM patients WHERE ssn = :first \gset p_
\echo :p_found :p_born :p_balance
INSERT INTO visits (patient_ssn, reason) VALUES (:first, :'p_found') RETURNING id \gset
SELECT :id, reason FROM visits WHERE reason IS NOT NULL;
SELECT format('SELECT count(*) AS visits_%s FROM visits WHERE id = %s', n, n) FROM generate_series(1, 2) n \gexec
SELECT id, name, seen, balance FROM patients \gdesc
\if :{?p_found}
SELECT count(*) FROM patients WHERE name IS NOT NULL;
\endif

-- Transactions, and savepoints that psql sets by itself.
BEGIN;
UPDATE patients SET mrn = :'mark' WHERE ssn = :first;
SAVEPOINT here;
DELETE FROM patients;
ROLLBACK TO here;
COMMIT;
\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO patients (id, ssn) VALUES (9, :first);
INSERT INTO patients (id, mrn) VALUES (9, 'longer than twelve');
SELECT 1/0;
UPDATE patients SET visits = 4 WHERE ssn = :first;
COMMIT;
\set ON_ERROR_ROLLBACK off
SELECT id, mrn, visits FROM patients;
SELECT 1 AS one \; SELECT name FROM patients WHERE ssn = :first \; SELECT 2 AS two;

-- Forms of output.
\pset null '(null)'
\x on
SELECT * FROM patients;
\x off
\pset format csv
SELECT id, name, balance FROM patients;
\pset format html
SELECT id, name FROM patients;
\pset format unaligned
\a
\t on
SELECT name FROM patients;
\t off
\timing off
SELECT ward, visits, id FROM patients \crosstabview
\set VERBOSITY sqlstate
INSERT INTO patients (id) VALUES (1);
SELECT upper(no_such_column) FROM patients;
\set VERBOSITY terse
SET datestyle = 'SQL, DMY';
SELECT born FROM patients;
RESET datestyle;
SHOW datestyle;

-- \copy, in and out.
\copy patients (id, name, ssn, born) FROM STDIN
10	QJPSQLQZ ten \\ \tab	QJPSQLQZ-10	1990-01-10
11	\N	QJPSQLQZ-11	\N
\.
\copy patients (id, name, ssn) FROM STDIN WITH (FORMAT csv, HEADER)
id,name,ssn
12,"QJPSQLQZ, ""quoted""",QJPSQLQZ-12
13,,QJPSQLQZ-13
\.
\copy (SELECT id, name, ssn, born FROM patients ORDER BY id) TO STDOUT
\copy patients (id, name, ssn) TO STDOUT WITH (FORMAT csv, HEADER, FORCE_QUOTE *)
COPY (SELECT name FROM patients WHERE ssn = :first) TO STDOUT;
\copy patients (id, ssn) FROM STDIN
14	QJPSQLQZ-10
\.
-- (The proxy's messages never have a value in them.)
\set VERBOSITY sqlstate
\copy patients (id, born) FROM STDIN
14	no date
\.
\set VERBOSITY terse

-- Rows are fetched by a cursor.
\set FETCH_COUNT 2
SELECT id, name, ssn FROM patients ORDER BY id;
BEGIN;
SELECT id, born FROM patients WHERE ssn <> :first ORDER BY id;
COMMIT;
\set FETCH_COUNT 0
BEGIN;
DECLARE mine SCROLL CURSOR FOR SELECT id, name FROM patients ORDER BY id;
FETCH 2 FROM mine;
MOVE 1 IN mine;
FETCH BACKWARD 1 FROM mine;
CLOSE mine;
COMMIT;
PREPARE by_ssn AS SELECT id, name FROM patients WHERE ssn = $1;
EXECUTE by_ssn(:first);
DEALLOCATE by_ssn;
PREPARE add(int, text, text) AS INSERT INTO patients (id, name, ssn) VALUES ($1, $2, $3) RETURNING name;
EXECUTE add(20, 'QJPSQLQZ by EXECUTE', 'QJPSQLQZ-20');
DEALLOCATE ALL;
SELECT id, name FROM patients WHERE ssn = ANY ('{QJPSQLQZ-10,QJPSQLQZ-20}') ORDER BY id;
DROP TABLE visits, patients, wards;
\dt
