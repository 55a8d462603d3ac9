// Checks of the CMQ API through cmq-sdk (npm): one function per name in ../checks.txt and ../control.txt.
// Started with redirect.js preloaded, because the SDK's hosts are fixed.
'use strict';

const { Skip } = require('./support');
const messages = require('./messages');
const control = require('./control');

// The restart comes last, since it ends the connections that the SDK keeps alive.
const { 'restart-keeps-lease': restart, ...rest } = messages;
const CHECKS = { ...rest, ...control, 'restart-keeps-lease': restart };

async function main() {
  const chosen = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(CHECKS);
  let failed = false;
  for (const check of chosen) {
    try {
      await CHECKS[check]();
      console.log(`ok ${check}`);
    } catch (error) {
      if (error instanceof Skip) {
        console.log(`skip ${check}: ${error.message}`);
        continue;
      }
      failed = true;
      console.log(`FAIL ${check}: ${error.name}: ${String(error.message).split(/\s+/).join(' ')}`);
    }
  }
  process.exit(failed ? 1 : 0);
}

main();
