// Checks of a broker through amqplib's promise API: one function per name in checks.txt.
// It runs as a copy beside the installed node_modules, so it cannot read files of this folder.
'use strict';

const amqplib = require('amqplib');
const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');

const URL_TEXT = process.env.AMQP_URL || 'amqp://guest:guest@127.0.0.1:5672/%2f';
const RESTART = process.env.INTEROP_RESTART;
const MESSAGES = 200;
const DEADLINE_MS = 10000;

class Skip extends Error {}

const name = (suffix) => `interop.amqplib.${process.pid}.${suffix}`;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const numbers = () => Array.from({ length: MESSAGES }, (_, i) => String(i));

async function eventually(what, probe) {
  const deadline = Date.now() + DEADLINE_MS;
  while (Date.now() < deadline) {
    const result = await probe();
    if (result) return result;
    await pause(20);
  }
  throw new Error(`${what}: not seen within ${DEADLINE_MS} ms`);
}

function urlWith({ password, vhost, heartbeat }) {
  const url = new URL(URL_TEXT);
  if (password !== undefined) url.password = password;
  if (vhost !== undefined) url.pathname = `/${vhost}`;
  if (heartbeat !== undefined) url.searchParams.set('heartbeat', heartbeat);
  return url.toString();
}

async function connect(url = URL_TEXT) {
  const connection = await amqplib.connect(url);
  // The library also emits errors that a check causes on purpose; each check handles its own.
  connection.on('error', () => {});
  return connection;
}

async function channelOf(connection) {
  const channel = await connection.createChannel();
  channel.on('error', () => {});
  return channel;
}

async function confirmChannelOf(connection) {
  const channel = await connection.createConfirmChannel();
  channel.on('error', () => {});
  return channel;
}

// Asserts that the call is rejected because the broker closes the channel with this code and text.
async function expectClose(code, text, promise) {
  const error = await promise.then(
    () => assert.fail(`no channel error, wanted ${code}`),
    (reason) => reason,
  );
  if (!error.message.includes(text)) throw new Error(`'${error.message}' lacks '${text}'`);
  assert.equal(error.code, code);
}

const message = (channel, queue, options) =>
  eventually(`a message in ${queue}`, () => channel.get(queue, options));

async function drain(channel, queue) {
  const bodies = [];
  for (;;) {
    const taken = await channel.get(queue, { noAck: true });
    if (!taken) return bodies;
    bodies.push(taken.content.toString());
  }
}

const checks = {
  async 'connect-auth-ok'(connection) {
    assert.equal(connection.connection.serverProperties.capabilities.publisher_confirms, true);
  },

  async 'connect-auth-refused'() {
    await assert.rejects(amqplib.connect(urlWith({ password: 'wrong' })), /403.*ACCESS[-_]REFUSED/);
  },

  async 'connect-vhost-missing'() {
    // While it opens a connection, the library reports the method that came, without its code and text.
    await assert.rejects(amqplib.connect(urlWith({ vhost: 'interop-none' })), /ConnectionClose/);
  },

  async 'declare-passive'(connection) {
    const channel = await channelOf(connection);
    const { queue } = await channel.assertQueue(name('passive'), { exclusive: true });
    channel.sendToQueue(queue, Buffer.from('one'));
    await eventually('message count 1', async () => (await channel.checkQueue(queue)).messageCount === 1);
    const absent = name('absent');
    await expectClose(404, `NOT_FOUND - no queue '${absent}' in vhost '/'`, channel.checkQueue(absent));
    const second = await channelOf(connection);
    await expectClose(404, `NOT_FOUND - no exchange '${absent}' in vhost '/'`, second.checkExchange(absent));
  },

  async 'declare-server-named'(connection) {
    const channel = await channelOf(connection);
    const first = await channel.assertQueue('', { exclusive: true });
    const second = await channel.assertQueue('', { exclusive: true });
    assert.match(first.queue, /^amq\.gen-/);
    assert.notEqual(first.queue, second.queue);
    channel.sendToQueue(second.queue, Buffer.from('here'));
    assert.equal((await message(channel, '')).content.toString(), 'here');
  },

  async 'declare-inequivalent'(connection) {
    const queue = name('inequivalent');
    const keeper = await channelOf(connection);
    await keeper.assertQueue(queue, { durable: true });
    try {
      const other = await channelOf(connection);
      await expectClose(
        406,
        `PRECONDITION_FAILED - inequivalent arg 'durable' for queue '${queue}' in vhost '/': ` +
          "received 'false' but current is 'true'",
        other.assertQueue(queue, { durable: false }),
      );
    } finally {
      await keeper.deleteQueue(queue);
    }
  },

  async 'publish-confirm'(connection) {
    const channel = await confirmChannelOf(connection);
    const { queue } = await channel.assertQueue(name('confirm'), { durable: true });
    try {
      for (const body of numbers()) channel.sendToQueue(queue, Buffer.from(body), { persistent: true });
      await channel.waitForConfirms();
      assert.equal((await channel.checkQueue(queue)).messageCount, MESSAGES);
      assert.deepEqual(await drain(channel, queue), numbers());
    } finally {
      await channel.deleteQueue(queue);
    }
  },

  async 'mandatory-return-before-confirm'(connection) {
    const channel = await confirmChannelOf(connection);
    const events = [];
    channel.on('return', (returned) => events.push(returned));
    await new Promise((resolve, reject) => {
      channel.publish('', name('nowhere'), Buffer.from('lost'), { mandatory: true }, (error) => {
        events.push('confirm');
        error ? reject(error) : resolve();
      });
    });
    assert.equal(events.length, 2);
    assert.equal(events[1], 'confirm');
    assert.equal(events[0].fields.replyCode, 312);
    assert.equal(events[0].fields.replyText, 'NO_ROUTE');
    assert.equal(events[0].content.toString(), 'lost');
  },

  async 'consume-ack'(connection) {
    const channel = await channelOf(connection);
    const { queue } = await channel.assertQueue(name('consume'), { exclusive: true });
    const headers = { int: 7, text: 'x', list: [1, 'a'], table: { k: true }, float: 1.5, none: null };
    for (const body of numbers()) {
      channel.sendToQueue(queue, Buffer.from(body), { headers, messageId: 'm1', priority: 3, timestamp: 1700000000 });
    }
    const seen = [];
    await channel.consume(queue, (delivery) => {
      seen.push(delivery);
      channel.ack(delivery);
    });
    await eventually('every delivery', () => seen.length === MESSAGES);
    assert.deepEqual(seen.map((delivery) => delivery.content.toString()), numbers());
    for (const delivery of seen) {
      assert.deepEqual(delivery.properties.headers, headers);
      assert.equal(delivery.properties.messageId, 'm1');
      assert.equal(delivery.properties.timestamp, 1700000000);
      assert.equal(delivery.fields.redelivered, false);
      assert.equal(delivery.fields.routingKey, queue);
    }
    await channel.close();
    const after = await channelOf(connection);
    assert.equal((await after.checkQueue(queue)).messageCount, 0);
  },

  async 'body-larger-than-frame'(connection) {
    const channel = await confirmChannelOf(connection);
    const { queue } = await channel.assertQueue('', { exclusive: true });
    for (const size of [0, 1, 131064, 131065, 1000003]) {
      const body = Buffer.from(Uint8Array.from({ length: size }, (_, i) => i % 251));
      channel.sendToQueue(queue, body);
      await channel.waitForConfirms();
      const taken = await channel.get(queue, { noAck: true });
      assert.ok(taken && taken.content.equals(body), `a body of ${size} bytes came back different`);
    }
  },

  async 'nack-requeue-redelivered'(connection) {
    const channel = await channelOf(connection);
    const { queue } = await channel.assertQueue('', { exclusive: true });
    for (const body of ['a', 'b']) channel.sendToQueue(queue, Buffer.from(body));
    const first = await message(channel, queue);
    assert.equal(first.content.toString(), 'a');
    assert.equal(first.fields.redelivered, false);
    channel.nack(first, false, true);
    const again = await message(channel, queue);
    assert.equal(again.content.toString(), 'a');
    assert.equal(again.fields.redelivered, true);
  },

  async 'reject-dead-letter'(connection) {
    const channel = await channelOf(connection);
    const exchange = name('dlx');
    const source = name('dl-source');
    await channel.assertExchange(exchange, 'fanout', { autoDelete: true, durable: false });
    const target = (await channel.assertQueue('', { exclusive: true })).queue;
    await channel.bindQueue(target, exchange, '');
    await channel.assertQueue(source, { exclusive: true, deadLetterExchange: exchange });
    channel.sendToQueue(source, Buffer.from('poison'), { headers: { mine: 1 } });
    channel.reject(await message(channel, source), false);
    const dead = await message(channel, target);
    assert.equal(dead.content.toString(), 'poison');
    assert.equal(dead.fields.exchange, exchange);
    assert.equal(dead.fields.routingKey, source);
    assert.equal(dead.properties.headers.mine, 1);
    const [death] = dead.properties.headers['x-death'];
    assert.equal(death.reason, 'rejected');
    assert.equal(death.queue, source);
    assert.equal(death.count, 1);
    assert.deepEqual(death['routing-keys'], [source]);
  },

  async 'get-and-get-empty'(connection) {
    const channel = await confirmChannelOf(connection);
    const { queue } = await channel.assertQueue('', { exclusive: true });
    assert.equal(await channel.get(queue), false);
    for (const body of ['1', '2']) channel.sendToQueue(queue, Buffer.from(body));
    await channel.waitForConfirms();
    const first = await channel.get(queue);
    assert.equal(first.content.toString(), '1');
    assert.equal(first.fields.messageCount, 1);
    await channel.get(queue, { noAck: true });
    assert.equal(await channel.get(queue), false);
  },

  async 'prefetch-bound'(connection) {
    const channel = await channelOf(connection);
    const { queue } = await channel.assertQueue('', { exclusive: true });
    for (let i = 0; i < 20; i += 1) channel.sendToQueue(queue, Buffer.from(String(i)));
    await channel.prefetch(5);
    const seen = [];
    await channel.consume(queue, (delivery) => seen.push(delivery));
    await eventually('five deliveries', () => seen.length === 5);
    await pause(300);
    assert.equal(seen.length, 5);
    channel.ack(seen[1], true);
    await eventually('two more deliveries', () => seen.length === 7);
    await pause(300);
    assert.equal(seen.length, 7);
  },

  async 'consumer-cancel-notification'(connection) {
    const channel = await channelOf(connection);
    const { queue } = await channel.assertQueue(name('cancelled'), { durable: false });
    const seen = [];
    await channel.consume(queue, (delivery) => seen.push(delivery));
    const other = await channelOf(connection);
    await other.deleteQueue(queue);
    // A null delivery means that the broker cancelled the consumer.
    await eventually('the cancel', () => seen.length === 1);
    assert.equal(seen[0], null);
    await channel.assertQueue('', { exclusive: true });
  },

  async 'heartbeat-idle'() {
    const connection = await connect(urlWith({ heartbeat: 1 }));
    let lost;
    connection.on('error', (error) => {
      lost = error;
    });
    const channel = await channelOf(connection);
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await pause(6000);
    assert.equal(lost, undefined);
    await channel.checkQueue(queue);
    await connection.close();
  },

  async 'channel-error-connection-alive'(connection) {
    const bystander = await channelOf(connection);
    const { queue } = await bystander.assertQueue('', { exclusive: true });
    const failing = await channelOf(connection);
    await expectClose(404, 'NOT_FOUND', failing.checkQueue(name('absent')));
    const acking = await connection.createChannel();
    const closed = new Promise((resolve) => acking.on('error', resolve));
    acking.ack({ fields: { deliveryTag: 99 } });
    const error = await closed;
    assert.equal(error.code, 406);
    assert.match(error.message, /PRECONDITION_FAILED - unknown delivery tag 99/);
    await bystander.checkQueue(queue);
    await (await channelOf(connection)).close();
  },

  async 'restart-durable'(idle) {
    if (!RESTART) throw new Skip('the broker cannot be restarted');
    await idle.close();
    const exchange = name('restart-x');
    const queue = name('restart');
    const before = await confirmChannelOf(await connect());
    await before.assertExchange(exchange, 'direct', { durable: true });
    await before.assertQueue(queue, { durable: true });
    await before.bindQueue(queue, exchange, 'key');
    for (const body of numbers()) before.publish(exchange, 'key', Buffer.from(body), { persistent: true });
    await before.waitForConfirms();
    for (let i = 0; i < 10; i += 1) await message(before, queue);
    const status = spawnSync('sh', ['-c', RESTART], { stdio: ['ignore', 'ignore', 'inherit'] }).status;
    assert.equal(status, 0, 'the restart command failed');
    const connection = await connect();
    const after = await confirmChannelOf(connection);
    after.publish(exchange, 'key', Buffer.from('after'), { persistent: true });
    await after.waitForConfirms();
    assert.equal((await after.checkQueue(queue)).messageCount, MESSAGES + 1);
    assert.deepEqual(await drain(after, queue), [...numbers(), 'after']);
    await after.deleteQueue(queue);
    await after.deleteExchange(exchange);
    await connection.close();
  },
};

// The library throws if a check has closed its connection, or lost it with the broker.
async function close(connection, label) {
  try {
    await connection?.close();
  } catch (error) {
    if (!(error instanceof amqplib.IllegalOperationError)) console.error(`closing after ${label}: ${error.message}`);
  }
}

async function main() {
  let failed = 0;
  for (const [label, check] of Object.entries(checks)) {
    let connection;
    try {
      connection = await connect();
      await check(connection);
      console.log(`ok ${label}`);
    } catch (error) {
      if (error instanceof Skip) {
        console.log(`skip ${label}: ${error.message}`);
      } else {
        failed += 1;
        console.log(`FAIL ${label}: ${error.message.replace(/\s+/g, ' ')}`);
      }
    } finally {
      await close(connection, label);
    }
  }
  return failed;
}

main().then((failed) => process.exit(failed ? 1 : 0));
