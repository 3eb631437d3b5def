"use strict";
// Connects under TLS with a certificate authority of its own, and prints what the connection is.

const { Client } = require("pg");
const { readFileSync } = require("node:fs");

const { URL: connectionString, CA } = process.env;

(async () => {
  const client = new Client({ connectionString, ssl: { ca: readFileSync(CA, "utf8"), servername: "localhost" } });
  await client.connect();
  console.log(client.connection.stream.getProtocol());
  console.log((await client.query("SELECT 40 + 2 AS n")).rows[0].n);
  await client.end();
})();
