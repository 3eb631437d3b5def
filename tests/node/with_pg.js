"use strict";
// A ward's day through node-postgres: a pool, named statements, cursors, streams, COPY.

const { Pool, types } = require("pg");
const Cursor = require("pg-cursor");
const QueryStream = require("pg-query-stream");
const { from: copyFrom, to: copyTo } = require("pg-copy-streams");
const { Readable } = require("node:stream");
const { pipeline } = require("node:stream/promises");
const { text } = require("node:stream/consumers");

const { URL: connectionString, MARK } = process.env;
const pool = new Pool({ connectionString, max: 3 });
// A date is a day, not a moment in the local time zone.
types.setTypeParser(types.builtins.DATE, (value) => value);

const COLUMNS = "id, name, ssn, mrn, born, seen, visits, account, grade, insured, token, balance, photo, notes".split(", ");
const INSERT = `INSERT INTO patients (${COLUMNS}) VALUES (${COLUMNS.map((_, n) => `$${n + 1}`)})`;

function patient(number) {
  return [
    number,
    number % 5 ? `${MARK} Name ${number} 'quoted' \\ äöü` : null,
    `${MARK}-${number}`,
    `m${number}`,
    `1980-01-${String((number % 28) + 1).padStart(2, "0")}`,
    new Date(Date.UTC(2024, 1, 29, 13, 14, 15, number)),
    number % 7,
    (BigInt(number) << 40n).toString(),
    -number,
    number % 2 === 0,
    `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`,
    number / 4,
    Buffer.from([0, 255, number % 256]),
    { n: number, who: MARK },
  ];
}

function show(label, result) {
  for (const row of result.rows ?? result) console.log(label, JSON.stringify(row));
}

async function within(part) {
  const client = await pool.connect();
  try {
    await part(client);
  } finally {
    client.release();
  }
}

async function rows() {
  await pool.query(`
    CREATE TABLE patients (id int PRIMARY KEY, name text, ssn text UNIQUE, mrn varchar(12), born date, seen timestamptz,
      visits int4, account int8, grade int2, insured bool, token uuid, balance numeric(12,2), photo bytea, notes jsonb);
    CREATE TABLE visits (id serial PRIMARY KEY, patient_ssn text NOT NULL, reason text, cost int)`);
  for (let number = 1; number < 9; number++) show("inserted", await pool.query(`${INSERT} RETURNING id, ssn, born`, patient(number)));
  await Promise.all(Array.from({ length: 40 }, (_, n) => pool.query(INSERT, patient(20 + n))));
  const all = await pool.query("SELECT * FROM patients WHERE id < 9 ORDER BY id");
  console.log(all.command, all.rowCount, JSON.stringify(all.fields.map((field) => [field.name, field.dataTypeID, field.dataTypeSize, field.dataTypeModifier, field.format])));
  show("all", all);
  show("as arrays", await pool.query({ text: "SELECT id, name, seen FROM patients WHERE ssn = $1", values: [`${MARK}-3`], rowMode: "array" }));
  show("in binary", await pool.query({ text: "SELECT id, name, visits, account, insured FROM patients WHERE ssn = $1", values: [`${MARK}-4`], binary: true }));
  for (const [column, value] of [["token", patient(4)[10]], ["account", patient(5)[7]], ["balance", 1.5], ["born", "1980-01-08"], ["grade", "-3"]]) {
    show(`by ${column}`, await pool.query(`SELECT id FROM patients WHERE ${column} = $1 ORDER BY id`, [value]));
  }
  // Dates as JavaScript has them.
  show("by a moment", await pool.query("UPDATE patients SET born = $1 WHERE id = 8 RETURNING id, born", [new Date(Date.UTC(2001, 1, 3))]));
}

async function named() {
  const query = (number) => ({ name: "by-ssn", text: "SELECT id, name FROM patients WHERE ssn = $1 OR mrn = $2 ORDER BY id", values: [`${MARK}-${number}`, `m${number + 1}`] });
  await within(async (client) => {
    for (const number of [1, 2, 20, 99]) show("named", await client.query(query(number)));
    try {
      await client.query({ name: "by-ssn", text: "SELECT 1" });
    } catch (error) {
      console.log(error.message);
    }
  });
  const answers = await Promise.all(Array.from({ length: 12 }, (_, n) => pool.query(query(20 + n))));
  answers.forEach((answer) => show("together", answer));
}

async function transactions() {
  await within(async (client) => {
    await client.query("BEGIN");
    await client.query("UPDATE patients SET name = $1 WHERE ssn = $2", [`${MARK} kept`, `${MARK}-1`]);
    await client.query("SAVEPOINT here");
    try {
      await client.query("INSERT INTO patients (id, ssn) VALUES ($1, $2)", [900, `${MARK}-3`]);
    } catch (error) {
      console.log(error.code, error.table, error.constraint, error.severity);
    }
    await client.query("ROLLBACK TO SAVEPOINT here");
    show("inside", await client.query("DELETE FROM patients WHERE ssn = $1 RETURNING id, name", [`${MARK}-59`]));
    await client.query("COMMIT");
    show("kept", await client.query("SELECT id, name FROM patients WHERE ssn IN ($1, $2)", [`${MARK}-1`, `${MARK}-59`]));
    await client.query("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY");
    await client.query("DELETE FROM patients WHERE ssn = $1", [`${MARK}-2`]).catch((error) => console.log(error.code));
    await client.query("ROLLBACK");
  });
}

async function errors() {
  for (const [statement, values] of [
    ["INSERT INTO patients (id, mrn) VALUES ($1, $2)", [901, `${MARK} longer than twelve`]],
    ["INSERT INTO patients (id, visits) VALUES ($1, $2)", [901, "no number"]],
    ["INSERT INTO patients (id, born) VALUES ($1, $2)", [901, "2024-02-30"]],
    ["INSERT INTO visits (reason) VALUES ($1)", [MARK]],
    ["SELECT no_such_column FROM patients WHERE ssn = $1", [MARK]],
    ["SELEC 1", []],
    ["SELECT 1/0", []],
  ]) {
    try {
      await pool.query(statement, values);
    } catch (error) {
      console.log(error.code);
    }
  }
  show("afterwards", await pool.query("SELECT id FROM patients WHERE ssn = $1", [`${MARK}-4`]));
}

async function simple() {
  // Several statements in one text, answered by several results.
  const results = await pool.query(`INSERT INTO visits (patient_ssn, reason) VALUES ('${MARK}-1', '${MARK} one'), ('${MARK}-2', NULL);
    SELECT reason, name FROM visits JOIN patients ON ssn = patient_ssn ORDER BY visits.id; SELECT count(*) FROM visits`);
  for (const result of results) console.log(result.command, result.rowCount, JSON.stringify(result.rows));
}

async function arrays() {
  const wanted = [1, 2, 40, 99].map((number) => `${MARK}-${number}`);
  show("any", await pool.query("SELECT id, name FROM patients WHERE ssn = ANY($1) ORDER BY id", [wanted]));
  show("any", await pool.query("SELECT id, name FROM patients WHERE ssn = ANY($1::text[]) ORDER BY id", [wanted]));
  show("all", await pool.query("SELECT id FROM patients WHERE visits <> ALL($1) AND id < 20 ORDER BY id", [[1, 2]]));
  show("empty", await pool.query("SELECT id FROM patients WHERE ssn = ANY($1)", [[]]));
}

async function cursors() {
  await within(async (client) => {
    const cursor = client.query(new Cursor("SELECT id, ssn, seen FROM patients WHERE id > $1 ORDER BY id", [40]));
    for (let batch = await cursor.read(7); batch.length; batch = await cursor.read(7)) show(`batch of ${batch.length}`, batch);
    await cursor.close();
    const left = client.query(new Cursor("SELECT id, name FROM patients ORDER BY id"));
    show("left early", await left.read(2));
    await left.close();
    for await (const row of client.query(new QueryStream("SELECT id, name FROM patients WHERE id >= $1 ORDER BY id", [30], { batchSize: 4 }))) show("streamed", [row]);
    show("afterwards", await client.query("SELECT name FROM patients WHERE ssn = $1", [`${MARK}-21`]));
  });
}

async function copies() {
  await within(async (client) => {
    const lines = Array.from({ length: 20 }, (_, n) => `${100 + n}\t${n % 5 ? `${MARK} copied ${n}` : "\\N"}\t${MARK}-${100 + n}\n`);
    const inward = client.query(copyFrom("COPY patients (id, name, ssn) FROM STDIN"));
    await pipeline(Readable.from(lines), inward);
    console.log(inward.rowCount);
    const csv = client.query(copyFrom("COPY visits (patient_ssn, reason) FROM STDIN WITH (FORMAT csv, HEADER)"));
    await pipeline(Readable.from([`patient_ssn,reason\n${MARK}-1,"${MARK}, ""quo`, `ted"""\n${MARK}-2,\n`]), csv);
    console.log(csv.rowCount);
    console.log(await text(client.query(copyTo("COPY (SELECT id, name, ssn FROM patients WHERE id >= 100 ORDER BY id) TO STDOUT WITH CSV"))));
    console.log(await text(client.query(copyTo("COPY visits TO STDOUT"))));
  });
}

async function main() {
  for (const part of [rows, named, transactions, errors, simple, arrays, cursors, copies]) {
    try {
      await part();
    } catch (error) {
      console.log("FAILED", part.name, error.code, error.message, error.detail, error.hint);
    }
  }
  await pool.end();
}

main();
