// Checks of queues, topics and pushes: see ../control.txt.
'use strict';

const {
  PUSH_CLOCK, assert, between, bodies, cmq, deleteAll, done, name, noMessage, receive, refused, sendAll, sleep, sleepPast,
  take, withQueue, withTarget,
} = require('./support');
const codes = require('./codes');

const TAGS = 1;
const KEYS = 2;
const REWIND = 600;
// The longest delay of a push on a busy machine, in milliseconds.
const LATENESS = 800;
const DECAY_WAITS = [1, 2, 4, 8, 16];

const now = () => Math.floor(Date.now() / 1000);
const attributes = (queueName) => cmq.getQueueAttributes({ queueName });

// Runs `body` with the name of a new topic, deleted afterwards.
async function withTopic(suffix, filterType, body) {
  const topicName = name(suffix);
  await done(cmq.createTopic({ topicName, filterType, maxMsgSize: 65536 }));
  try {
    await body(topicName);
  } finally {
    await done(cmq.deleteTopic({ topicName }));
  }
}

// Runs `body` while a subscription exists.
async function subscribed(topicName, suffix, options, body) {
  const subscription = { topicName, subscriptionName: name(suffix) };
  await done(cmq.subscribe({ ...subscription, ...options }));
  try {
    await body(subscription);
  } finally {
    await done(cmq.unsubscribe({ ...subscription }));
  }
}

const toQueue = (queueName, filter = {}) => ({
  protocol: 'queue', endpoint: queueName, notifyContentFormat: 'SIMPLIFIED', ...filter,
});

const toHttp = (endpoint, options = {}) => ({ protocol: 'http', endpoint, notifyContentFormat: 'SIMPLIFIED', ...options });

// Runs `body` with a queue that is subscribed with this filter.
const withSubscribedQueue = (topicName, suffix, filter, body) =>
  withQueue(suffix, {}, (queueName) =>
    subscribed(topicName, suffix, toQueue(queueName, filter), () => body(queueName)));

function policy(deadLetterQueue, rest) {
  return { deadLetterPolicy: JSON.stringify({ deadLetterQueue, ...rest }) };
}

const queues = {
  'queue-life-cycle': async () => {
    const queueName = name('life');
    const before = now();
    const made = await done(cmq.createQueue({ queueName, visibilityTimeout: 20, maxMsgSize: 2048, msgRetentionSeconds: 3600 }));
    const listed = await done(cmq.listQueue({ searchWord: queueName }));
    assert.deepEqual([listed.totalCount, listed.queueList], [1, [{ queueId: made.queueId, queueName }]]);
    let seen = await done(attributes(queueName));
    assert.deepEqual(
      [seen.visibilityTimeout, seen.pollingWaitSeconds, seen.maxMsgSize, seen.msgRetentionSeconds, seen.maxMsgHeapNum],
      [20, 0, 2048, 3600, 100000000],
    );
    between('createTime', before, seen.createTime, now());
    await done(cmq.setQueueAttributes({ queueName, visibilityTimeout: 40 }));
    seen = await done(attributes(queueName));
    // Attributes that are left out do not change.
    assert.deepEqual([seen.visibilityTimeout, seen.maxMsgSize], [40, 2048]);
    await done(cmq.deleteQueue({ queueName }));
    await refused(codes.NO_SUCH_QUEUE, attributes(queueName));
  },

  'queue-exists': () =>
    withQueue('exists', {}, async (queueName) => {
      await refused(codes.QUEUE_EXISTS, cmq.createQueue({ queueName }));
      await refused(codes.QUEUE_EXISTS, cmq.createQueue({ queueName: queueName.toUpperCase() }));
    }),

  'queue-name-refused': async () => {
    for (const queueName of ['9lives', 'with.dot', 'ünicode', 'x'.repeat(65)]) {
      await refused(codes.QUEUE_NAME_FORMAT, cmq.createQueue({ queueName }));
    }
  },

  'attribute-out-of-range': async () => {
    const queueName = name('range');
    for (const bad of [
      { visibilityTimeout: 0 }, { visibilityTimeout: 43201 }, { pollingWaitSeconds: 31 }, { maxMsgSize: 1023 },
      { maxMsgSize: 1048577 }, { msgRetentionSeconds: 59 }, { msgRetentionSeconds: 1296001 }, { maxMsgHeapNum: 999999 },
    ]) {
      await refused(codes.OUT_OF_RANGE, cmq.createQueue({ queueName, ...bad }));
    }
    await refused(codes.REWIND_BEYOND_RETENTION, cmq.createQueue({ queueName, msgRetentionSeconds: 60, rewindSeconds: 61 }));
  },

  'polling-wait-of-queue': () =>
    withQueue('wait', { pollingWaitSeconds: 1 }, async (queueName) => {
      const started = Date.now();
      await refused(codes.NO_MESSAGE, cmq.receiveMessage({ queueName }));
      between('ms waited by default', 900, Date.now() - started, 3000);
    }),

  rewind: () =>
    withQueue('rewind', { rewindSeconds: REWIND }, async (queueName) => {
      const early = await sendAll(queueName, ['one', 'two']);
      const first = await take(queueName, 2);
      await sleepPast(first[1].enqueueTime + 1);
      const late = await sendAll(queueName, ['three', 'four']);
      const second = await take(queueName, 2);
      await done(deleteAll(queueName, [...first, ...second]));
      await noMessage(queueName);
      const seen = await done(attributes(queueName));
      assert.deepEqual([seen.rewindMsgNum, seen.rewindmsgNum], [4, 4]);

      await done(cmq.rewindQueue({ queueName, startConsumeTime: second[0].enqueueTime }));
      const later = await take(queueName, 2);
      assert.deepEqual(later.map((message) => message.msgId), late);
      await done(deleteAll(queueName, later));
      await noMessage(queueName);
      await done(cmq.rewindQueue({ queueName, startConsumeTime: first[0].enqueueTime }));
      const all = await take(queueName, 4);
      assert.deepEqual(bodies(all), ['one', 'two', 'three', 'four']);
      assert.deepEqual(all.map((message) => message.msgId), [...early, ...late]);
      await done(deleteAll(queueName, all));
    }),

  'rewind-refused': async () => {
    await withQueue('no-rewind', {}, (queueName) =>
      refused(codes.NOT_REWINDABLE, cmq.rewindQueue({ queueName, startConsumeTime: now() })));
    await withQueue('rewind-range', { rewindSeconds: REWIND }, async (queueName) => {
      await refused(codes.REWIND_TIME, cmq.rewindQueue({ queueName, startConsumeTime: now() - REWIND - 60 }));
      await sendAll(queueName, ['waiting']);
      await refused(codes.REWIND_TIME, cmq.rewindQueue({ queueName, startConsumeTime: now() + 60 }));
    });
  },

  'dead-letter-received-too-often': () =>
    withQueue('dead', {}, (dead) =>
      withQueue('source', { visibilityTimeout: 1, ...policy(dead, { policy: 0, maxReceiveCount: 2 }) }, async (source) => {
        const [id] = await sendAll(source, ['poison']);
        assert.deepEqual([(await receive(source, 5)).dequeueCount, (await receive(source, 5)).dequeueCount], [1, 2]);
        const moved = await receive(dead, 5);
        assert.deepEqual([moved.msgBody, moved.msgId], ['poison', id]);
        await noMessage(source);
      })),

  'dead-letter-rules': () =>
    withQueue('grave', {}, async (grave) => {
      const queueName = name('bound');
      const create = (options) => cmq.createQueue({ queueName, ...options });
      await refused(codes.DEAD_LETTER_NOT_JSON, create({ deadLetterPolicy: 'no json' }));
      await refused(codes.DEAD_LETTER_PARAMETERS, create(policy(grave, { policy: 0, maxReceiveCount: 1001 })));
      await refused(codes.DEAD_LETTER_NOT_FOUND, create(policy(name('nowhere'), { policy: 0, maxReceiveCount: 1 })));
      await done(create(policy(grave, { policy: 1, maxTimeToLive: 300 })));
      await refused(codes.DEAD_LETTER_IN_USE, cmq.deleteQueue({ queueName: grave }));
      await done(cmq.deleteQueue({ queueName }));
    }),
};

const topics = {
  'topic-life-cycle': async () => {
    const topicName = name('life');
    await done(cmq.createTopic({ topicName, filterType: KEYS }));
    await refused(codes.TOPIC_EXISTS, cmq.createTopic({ topicName }));
    const listed = await done(cmq.listTopic({ searchWord: topicName }));
    assert.deepEqual([listed.totalCount, listed.topicList[0].topicName], [1, topicName]);
    await done(cmq.setTopicAttributes({ topicName, maxMsgSize: 2048 }));
    const seen = await done(cmq.getTopicAttributes({ topicName }));
    assert.deepEqual(
      [seen.filterType, seen.maxMsgSize, seen.msgRetentionSeconds, seen.msgCount],
      [KEYS, 2048, 86400, 0],
    );
    await withSubscribedQueue(topicName, 'life-sub', { bindingKey: ['#'] }, async () => {
      await refused(codes.TOPIC_IN_USE, cmq.deleteTopic({ topicName }));
      await refused(codes.MESSAGE_TOO_LARGE, cmq.publishMessage({ topicName, routingKey: 'a', msgBody: 'x'.repeat(2049) }));
    });
    await done(cmq.deleteTopic({ topicName }));
    await refused(codes.NO_SUCH_TOPIC, cmq.getTopicAttributes({ topicName }));
    await refused(codes.TOPIC_NAME_FORMAT, cmq.createTopic({ topicName: 'with.dot' }));
  },

  'topic-without-subscription': () =>
    withTopic('lonely', TAGS, async (topicName) => {
      await refused(codes.NO_SUBSCRIPTION, cmq.publishMessage({ topicName, msgBody: 'lost' }));
      await withSubscribedQueue(topicName, 'picky', { filterTag: ['red'] }, () =>
        refused(codes.NO_MATCH, cmq.publishMessage({ topicName, msgBody: 'lost', msgTag: ['green'] })));
    }),

  'topic-tags': () =>
    withTopic('tags', TAGS, (topicName) =>
      withSubscribedQueue(topicName, 'any', {}, (any) =>
        withSubscribedQueue(topicName, 'warm', { filterTag: ['red', 'orange'] }, async (warm) => {
          const publish = (msgBody, msgTag) => cmq.publishMessage({ topicName, msgBody, msgTag });
          await done(publish('both', ['red', 'blue']));
          await done(publish('cold', ['blue']));
          await done(publish('plain', []));
          await done(publish('once', ['red', 'orange']));
          assert.deepEqual(bodies(await take(any, 4)), ['both', 'cold', 'plain', 'once']);
          assert.deepEqual(bodies(await take(warm, 2)), ['both', 'once']);
          await noMessage(warm);
          await refused(codes.TOO_MANY_MESSAGE_TAGS, publish('many', ['1', '2', '3', '4', '5', '6']));
        }))),

  'topic-keys': () =>
    withTopic('keys', KEYS, (topicName) =>
      withSubscribedQueue(topicName, 'star', { bindingKey: ['order.*.paid', 'refund'] }, (star) =>
        withSubscribedQueue(topicName, 'hash', { bindingKey: ['order.#'] }, async (hashed) => {
          for (const routingKey of ['order.cn.paid', 'order', 'refund', 'order.cn.sent.paid']) {
            await done(cmq.publishMessage({ topicName, routingKey, msgBody: routingKey }));
          }
          assert.deepEqual(bodies(await take(star, 2)), ['order.cn.paid', 'refund']);
          assert.deepEqual(bodies(await take(hashed, 3)), ['order.cn.paid', 'order', 'order.cn.sent.paid']);
          await noMessage(star);
          await refused(codes.NO_MATCH, cmq.publishMessage({ topicName, routingKey: 'elsewhere', msgBody: 'lost' }));
          await refused(codes.NO_ROUTING_KEY, cmq.publishMessage({ topicName, msgBody: 'keyless' }));
          await refused(codes.NO_BINDING_KEY, cmq.subscribe({ topicName, subscriptionName: name('bare'), ...toQueue(star) }));
        }))),

  'topic-batch': () =>
    withTopic('many', TAGS, (topicName) =>
      withSubscribedQueue(topicName, 'batch', { filterTag: ['t'] }, async (queueName) => {
        const msgBody = Array.from({ length: 16 }, (_, i) => `number ${i}`);
        const sent = (await done(cmq.batchPublishMessage({ topicName, msgBody, msgTag: ['t'] }))).msgList;
        const got = await take(queueName, 16);
        assert.deepEqual(bodies(got), msgBody);
        assert.deepEqual(got.map((message) => message.msgId), sent.map((message) => message.msgId));
      })),

  'subscription-attributes': () =>
    withTopic('described', TAGS, (topicName) =>
      withQueue('described', {}, (queueName) =>
        subscribed(topicName, 'described', toQueue(queueName, { filterTag: ['one', 'two'] }), async (subscription) => {
          await refused(codes.SUBSCRIPTION_EXISTS, cmq.subscribe({ ...subscription, ...toQueue(queueName) }));
          let seen = await done(cmq.getSubscriptionAttributes({ ...subscription }));
          assert.deepEqual(
            [seen.protocol, seen.endpoint, seen.notifyContentFormat, [...seen.filterTag].sort(), seen.msgCount],
            ['queue', queueName, 'SIMPLIFIED', ['one', 'two'], 0],
          );
          assert.deepEqual(seen.filterTags, seen.filterTag);
          const listed = await done(cmq.listSubscriptionByTopic({ topicName }));
          assert.deepEqual([listed.totalCount, listed.subscriptionList[0].endpoint], [1, queueName]);
          await done(cmq.setSubscriptionAttributes({ ...subscription, filterTag: ['three'] }));
          await done(cmq.publishMessage({ topicName, msgBody: 'by the new tag', msgTag: ['three'] }));
          assert.deepEqual(bodies(await take(queueName, 1)), ['by the new tag']);
          await done(cmq.clearSubscriptionFilterTags({ ...subscription }));
          seen = await done(cmq.getSubscriptionAttributes({ ...subscription }));
          assert.deepEqual(seen.filterTag, []);
          await done(cmq.publishMessage({ topicName, msgBody: 'by no tag' }));
          assert.deepEqual(bodies(await take(queueName, 1)), ['by no tag']);
        }))),

  'subscription-refused': () =>
    withTopic('refusing', TAGS, async (topicName) => {
      const subscribe = (options) => cmq.subscribe({ topicName, subscriptionName: name('refused'), ...options });
      const target = 'http://127.0.0.1:9/push';
      await refused(codes.UNDEFINED_PROTOCOL, subscribe({ ...toHttp(target), protocol: 'smtp' }));
      await refused(codes.ENDPOINT_FORMAT, subscribe(toHttp('ftp://127.0.0.1/push')));
      await refused(codes.BLANK_IN_ENDPOINT, subscribe(toHttp('http://127.0.0.1/a push')));
      await refused(codes.UNDEFINED_STRATEGY, subscribe(toHttp(target, { notifyStrategy: 'NEVER' })));
      await refused(codes.UNDEFINED_FORMAT, subscribe(toHttp(target, { notifyContentFormat: 'XML' })));
      await withQueue('json', {}, async (queueName) => {
        // The documentation refuses it with 10640, but SDKs that choose the format themselves request it.
        await done(subscribe({ ...toQueue(queueName), notifyContentFormat: 'JSON' }));
        const subscription = { topicName, subscriptionName: name('refused') };
        const seen = await done(cmq.getSubscriptionAttributes({ ...subscription }));
        assert.equal(seen.notifyContentFormat, 'SIMPLIFIED');
        await done(cmq.unsubscribe({ ...subscription }));
      });
      assert.equal((await done(cmq.listSubscriptionByTopic({ topicName }))).totalCount, 0);
    }),
};

const gaps = (pushes) => pushes.slice(1).map((push, i) => push.at - pushes[i].at);

const pushes = {
  'push-json': () =>
    withTopic('push-json', TAGS, (topicName) =>
      withTarget(() => 204, (target) =>
        subscribed(topicName, 'json', toHttp(target.url, { notifyContentFormat: 'JSON' }), async (subscription) => {
          const { msgId } = await done(cmq.publishMessage({ topicName, msgBody: 'say "你好"', msgTag: ['a', 'b'] }));
          const [push] = await target.arrived(1);
          assert.deepEqual(
            [push.headers['content-type'], push.headers['user-agent'], push.headers['x-cmq-message-id'], push.headers['x-cmq-message-tag']],
            ['text/plain', 'Qcloud Notification Service Agent', msgId, 'a, b'],
          );
          const { TopicOwner, publishTime, ...said } = JSON.parse(push.body);
          assert(TopicOwner !== undefined && Number.isInteger(publishTime), push.body);
          assert.deepEqual(said, { topicName, subscriptionName: subscription.subscriptionName, msgId, msgBody: 'say "你好"' });
        }))),

  'push-simplified': () =>
    withTopic('push-plain', TAGS, (topicName) =>
      withTarget(() => 200, (target) =>
        subscribed(topicName, 'plain', toHttp(target.url), async () => {
          await done(cmq.batchPublishMessage({ topicName, msgBody: ['one 一', 'two\n'] }));
          assert.deepEqual((await target.arrived(2)).map((push) => push.body).sort(), ['one 一', 'two\n']);
        }))),

  'push-backoff-retry': () =>
    withTopic('backoff', TAGS, (topicName) =>
      withTarget((seen) => (seen[seen.length - 1].body === 'refused' ? 503 : 204), (target) =>
        subscribed(topicName, 'backoff', toHttp(target.url, { notifyStrategy: 'BACKOFF_RETRY' }), async () => {
          await done(cmq.publishMessage({ topicName, msgBody: 'refused' }));
          await done(cmq.publishMessage({ topicName, msgBody: 'taken' }));
          const got = await target.arrived(5);
          assert.deepEqual(got.map((push) => push.body), ['refused', 'refused', 'refused', 'refused', 'taken']);
          for (const gap of gaps(got.slice(0, 4))) {
            between('ms between pushes', 10000 * PUSH_CLOCK * 0.95, gap, 20000 * PUSH_CLOCK + LATENESS);
          }
        }))),

  'push-exponential-decay-retry': () =>
    withTopic('decay', TAGS, (topicName) =>
      withTarget((seen) => (seen.length <= DECAY_WAITS.length ? 503 : 204), (target) =>
        subscribed(topicName, 'decay', toHttp(target.url, { notifyStrategy: 'EXPONENTIAL_DECAY_RETRY' }), async () => {
          await done(cmq.publishMessage({ topicName, msgBody: 'insist' }));
          const got = await target.arrived(DECAY_WAITS.length + 1);
          gaps(got).forEach((gap, i) => {
            const due = DECAY_WAITS[i] * 1000 * PUSH_CLOCK;
            between(`ms after ${DECAY_WAITS[i]}`, due * 0.95 - 2, gap, due + LATENESS);
          });
          await sleep(LATENESS);
          assert.equal(target.pushes.length, DECAY_WAITS.length + 1);
        }))),

  'push-slow-endpoint': () =>
    withTopic('slow', TAGS, (topicName) =>
      withTarget(() => sleep(3000).then(() => 204), (slow) =>
        withTarget(() => 204, (quick) =>
          subscribed(topicName, 'slow', toHttp(slow.url), () =>
            subscribed(topicName, 'quick', toHttp(quick.url), async () => {
              const started = Date.now();
              for (let i = 0; i < 20; i += 1) {
                await done(cmq.publishMessage({ topicName, msgBody: `number ${i}` }));
              }
              await quick.arrived(20);
              between('ms for the quick endpoint', 0, Date.now() - started, 2500);
            }))))),
};

module.exports = { ...queues, ...topics, ...pushes };
