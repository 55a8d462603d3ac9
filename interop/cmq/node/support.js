// Shared by the checks of the Node runner: clients, temporary queues, refusals with their codes, a push target.
// Everything goes through the SDK as it is published.
'use strict';

const assert = require('assert').strict;
const { exec } = require('child_process');
const http = require('http');
const { CMQ } = require('cmq-sdk');
const codes = require('./codes');

const KEY = { secretId: process.env.CMQ_SECRET_ID, secretKey: process.env.CMQ_SECRET_KEY };
// The factor by which the broker under test scales the waits between pushes.
const PUSH_CLOCK = Number(process.env.CMQ_PUSH_CLOCK);
const RESTART = process.env.INTEROP_RESTART;
const DEADLINE_MS = 10000;

class Skip extends Error {}

// A queue or topic name that no other run uses.
const name = (suffix) => `node-${process.pid}-${suffix}`;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function account(overrides = {}) {
  return CMQ.NEW({ path: '/v2/index.php', signatureMethod: 'HmacSHA256', extranet: false, region: 'gz', ...KEY, ...overrides });
}

const cmq = account();

// The answer to an action that must succeed.
async function done(action) {
  const answer = await action;
  assert.equal(answer.code, 0, `refused: ${answer.code} ${answer.message}`);
  return answer;
}

// The answer to an action that must be refused with this code and module code.
async function refused([code, module], action) {
  const answer = await action;
  const stated = /^\((\d+)\)/.exec(answer.message);
  const got = [answer.code, stated && Number(stated[1])];
  assert.deepEqual(got, [code, module], answer.message);
  return answer;
}

// Runs `body` with the name of a new queue, deleted afterwards.
async function withQueue(suffix, attributes, body) {
  const queueName = name(suffix);
  await done(cmq.createQueue({ queueName, ...attributes }));
  try {
    await body(queueName);
  } finally {
    await done(cmq.deleteQueue({ queueName }));
  }
}

async function sendAll(queueName, bodies) {
  const ids = [];
  for (const msgBody of bodies) {
    ids.push((await done(cmq.sendMessage({ queueName, msgBody }))).msgId);
  }
  return ids;
}

// Receives `count` messages in as many requests as needed, without deleting them.
async function take(queueName, count) {
  const taken = [];
  while (taken.length < count) {
    const numOfMsg = Math.min(16, count - taken.length);
    const answer = await done(cmq.batchReceiveMessage({ queueName, numOfMsg, pollingWaitSeconds: 3 }));
    taken.push(...answer.msgInfoList);
  }
  return taken;
}

const receive = (queueName, pollingWaitSeconds = 3) => done(cmq.receiveMessage({ queueName, pollingWaitSeconds }));

const noMessage = (queueName) => refused(codes.NO_MESSAGE, cmq.receiveMessage({ queueName, pollingWaitSeconds: 0 }));

const deleteAll = (queueName, messages) =>
  cmq.batchDeleteMessage({ queueName, receiptHandle: messages.map((message) => message.receiptHandle) });

const bodies = (messages) => messages.map((message) => message.msgBody);

// Waits until the clock has passed a time that the service stated in whole seconds.
const sleepPast = (unixSeconds) => sleep(Math.max(0, unixSeconds * 1000 - Date.now()) + 50);

function between(what, low, value, high) {
  assert(low <= value && value <= high, `${what}: ${value} is not within ${low} to ${high}`);
}

async function eventually(what, probe) {
  const end = Date.now() + DEADLINE_MS;
  while (Date.now() < end) {
    const seen = await probe();
    if (seen) return seen;
    await sleep(20);
  }
  throw new Error(`${what}: not seen within ${DEADLINE_MS} ms`);
}

// Kills the broker and starts it on the same data; skips the check if that is impossible.
function restartBroker() {
  if (!RESTART) throw new Skip('the broker cannot be restarted');
  return new Promise((ended, failed) => exec(RESTART, (error) => (error ? failed(error) : ended())));
}

// Runs `body` with an HTTP server that records each push and answers with the status that `answer(pushes)` returns.
async function withTarget(answer, body) {
  const pushes = [];
  const server = http.createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', async () => {
      pushes.push({ at: Date.now(), path: request.url, headers: request.headers, body: Buffer.concat(chunks).toString() });
      response.writeHead(await answer(pushes), { 'Content-Length': 0 });
      response.end();
    });
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  const arrived = (count) => eventually(`${count} pushes`, () => pushes.length >= count && pushes.slice(0, count));
  try {
    await body({ url: `http://127.0.0.1:${server.address().port}/push`, pushes, arrived });
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

module.exports = {
  KEY, PUSH_CLOCK, Skip, account, assert, between, bodies, cmq, deleteAll, done, name, noMessage, receive, refused,
  restartBroker, sendAll, sleep, sleepPast, take, withQueue, withTarget,
};
