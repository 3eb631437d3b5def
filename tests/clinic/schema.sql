-- The clinic's schema, as its developers wrote it: rows are for whom `app.current_user` names.
CREATE TABLE staff (login text PRIMARY KEY, password text NOT NULL, job text NOT NULL);
CREATE TABLE patients (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, doctor text NOT NULL REFERENCES staff,
    name text NOT NULL, ssn text UNIQUE, born date);
CREATE TABLE visits (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, patient int NOT NULL REFERENCES patients,
    day date NOT NULL DEFAULT current_date, note text NOT NULL);
CREATE TABLE invoices (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, patient int NOT NULL REFERENCES patients,
    iban text NOT NULL, amount numeric(10,2) NOT NULL);
ALTER TABLE patients ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON patients USING (doctor = current_setting('app.current_user', true)
    OR current_setting('app.current_user', true) IN (SELECT login FROM staff WHERE job = 'clerk'));
CREATE ROLE clinic_app LOGIN;
GRANT SELECT ON staff TO clinic_app;
GRANT SELECT, INSERT, UPDATE ON patients, visits, invoices TO clinic_app;
ALTER TABLE visits ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON visits USING (patient IN (SELECT id FROM patients));
ALTER TABLE invoices ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON invoices USING (patient IN (SELECT id FROM patients));
