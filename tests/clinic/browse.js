// A person at a browser: logs in at URL as LOGIN with PASSWORD, finds a patient by number, adds another
// with a visit, and prints as JSON what the pages showed. SHOT, if set, takes a picture of the last one.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { chromium } = require('playwright-core');

// Playwright would fetch a browser of its own; this is the system's.
function installed() {
  const places = process.env.PATH.split(path.delimiter);
  const named = (name) => places.map((place) => path.join(place, name)).find(fs.existsSync);
  return named('chromium') || named('chromium-browser') || named('google-chrome');
}

const QUIET = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
  '--disable-background-networking', '--disable-component-update',
];

async function main() {
  const { URL: url, LOGIN, PASSWORD, FIND, SHOT } = process.env;
  const browser = await chromium.launch({ executablePath: installed(), args: QUIET });
  const page = await browser.newPage();
  const seen = {};
  await page.goto(url);
  await page.fill('[name=login]', LOGIN);
  await page.fill('[name=password]', PASSWORD);
  await page.click('button');
  seen.patients = await page.locator('#patients tr td:first-child').allTextContents();
  await page.fill('[name=ssn] >> nth=0', FIND);
  await page.press('[name=ssn] >> nth=0', 'Enter');
  await page.waitForURL(/ssn=/);
  seen.found = await page.locator('#patients tr td:first-child').allTextContents();
  await page.fill('[name=name]', 'Browser Weber');
  await page.fill('[name=ssn] >> nth=1', '900-00-0001');
  await page.fill('[name=born]', '1980-01-02');
  await page.click('#add');
  await page.waitForURL(/patients\/\d+$/);
  await page.fill('[name=note]', 'seen by a browser');
  await page.click('#add-visit');
  await page.waitForSelector('#visits li');
  seen.heading = await page.textContent('h1');
  seen.visits = await page.locator('#visits li').allTextContents();
  if (SHOT) await page.screenshot({ path: SHOT });
  await browser.close();
  console.log(JSON.stringify(seen));
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
