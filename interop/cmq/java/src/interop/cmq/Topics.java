// Checks of topics, subscriptions by queues, and pushes: see ../../../../control.txt.
package interop.cmq;

import static interop.Checking.equal;
import static interop.cmq.Support.CMQ;
import static interop.cmq.Support.PUSH_CLOCK;
import static interop.cmq.Support.between;
import static interop.cmq.Support.bodies;
import static interop.cmq.Support.ids;
import static interop.cmq.Support.meta;
import static interop.cmq.Support.name;
import static interop.cmq.Support.noMessage;
import static interop.cmq.Support.refused;
import static interop.cmq.Support.take;
import static interop.cmq.Support.withQueue;

import com.qcloud.cmq.Queue;
import com.qcloud.cmq.Subscription;
import com.qcloud.cmq.SubscriptionMeta;
import com.qcloud.cmq.Topic;
import com.qcloud.cmq.TopicMeta;
import com.qcloud.cmq.json.JSONObject;
import interop.Checking.Check;
import interop.cmq.Support.Push;
import interop.cmq.Support.Target;
import interop.cmq.Support.With;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Vector;
import java.util.stream.IntStream;

final class Topics {
    private static final int TAGS = 1;
    private static final int KEYS = 2;
    private static final int SIZE = 65_536;
    private static final int VISIBILITY = 30;
    // The longest delay of a push on a busy machine, in milliseconds.
    private static final long LATENESS = 800;
    private static final int[] DECAY_WAITS = {1, 2, 4, 8, 16};
    private static final String BACKOFF = "BACKOFF_RETRY";
    private static final String DECAY = "EXPONENTIAL_DECAY_RETRY";

    private Topics() {}

    static void addTo(Map<String, Check> checks) {
        checks.put("topic-life-cycle", Topics::lifeCycle);
        checks.put("topic-without-subscription", Topics::withoutSubscription);
        checks.put("topic-tags", Topics::tags);
        checks.put("topic-keys", Topics::keys);
        checks.put("topic-batch", Topics::batch);
        checks.put("subscription-attributes", Topics::attributes);
        checks.put("subscription-refused", Topics::subscriptionRefused);
        checks.put("push-json", Topics::pushJson);
        checks.put("push-simplified", Topics::pushSimplified);
        checks.put("push-backoff-retry", Topics::pushBackoff);
        checks.put("push-exponential-decay-retry", Topics::pushDecay);
        checks.put("push-slow-endpoint", Topics::pushSlowEndpoint);
    }

    private static void withTopic(String suffix, int filterType, With<Topic> body) throws Exception {
        CMQ.createTopic(name(suffix), SIZE, filterType);
        try {
            body.run(CMQ.getTopic(name(suffix)));
        } finally {
            CMQ.deleteTopic(name(suffix));
        }
    }

    /** A queue that is subscribed with these tags or keys while the body runs. */
    private static void withSubscribedQueue(String topic, String suffix, List<String> tags, List<String> keys, With<Queue> body)
        throws Exception {
        withQueue(suffix, meta(VISIBILITY), queue -> {
            CMQ.createSubscribe(name(topic), name(suffix), name(suffix), "queue", tags, keys, DECAY, "SIMPLIFIED");
            try {
                body.run(queue);
            } finally {
                CMQ.deleteSubscribe(name(topic), name(suffix));
            }
        });
    }

    private static void withPushes(String topic, Target target, String strategy, String format, Check body) throws Exception {
        String subscription = name(topic + "-" + target.url().hashCode());
        CMQ.createSubscribe(name(topic), subscription, target.url(), "http", null, null, strategy, format);
        try {
            body.run();
        } finally {
            CMQ.deleteSubscribe(name(topic), subscription);
        }
    }

    private static void lifeCycle() throws Exception {
        CMQ.createTopic(name("life"), SIZE, KEYS);
        refused(Code.TOPIC_EXISTS, () -> CMQ.createTopic(name("life"), SIZE, KEYS));
        List<String> listed = new ArrayList<>();
        equal("topics found", CMQ.listTopic(name("life"), listed, 0, 10), 1);
        equal("listed", listed, List.of(name("life")));
        Topic topic = CMQ.getTopic(name("life"));
        topic.setTopicAttributes(2048);
        TopicMeta seen = topic.getTopicAttributes();
        equal(
            "attributes",
            List.of(seen.filterType, seen.maxMsgSize, seen.msgRetentionSeconds, seen.msgCount),
            List.of(KEYS, 2048, 86_400, 0)
        );
        withSubscribedQueue("life", "life-sub", null, List.of("#"), queue -> {
            refused(Code.TOPIC_IN_USE, () -> CMQ.deleteTopic(name("life")));
            refused(Code.MESSAGE_TOO_LARGE, () -> topic.publishMessage("x".repeat(2049), "a"));
        });
        CMQ.deleteTopic(name("life"));
        refused(Code.NO_SUCH_TOPIC, topic::getTopicAttributes);
        refused(Code.NO_SUCH_TOPIC, () -> topic.publishMessage("lost", "a"));
        refused(Code.TOPIC_NAME_FORMAT, () -> CMQ.createTopic("with.dot", SIZE));
    }

    private static void withoutSubscription() throws Exception {
        withTopic("lonely", TAGS, topic -> {
            refused(Code.NO_SUBSCRIPTION, () -> topic.publishMessage("lost"));
            withSubscribedQueue("lonely", "picky", List.of("red"), null, queue -> {
                refused(Code.NO_MATCH, () -> topic.publishMessage("lost", List.of("green"), null));
                noMessage(queue);
            });
        });
    }

    private static void tags() throws Exception {
        withTopic("tags", TAGS, topic ->
            withSubscribedQueue("tags", "any", null, null, any ->
                withSubscribedQueue("tags", "warm", List.of("red", "orange"), null, warm -> {
                    topic.publishMessage("both", List.of("red", "blue"), null);
                    topic.publishMessage("cold", List.of("blue"), null);
                    topic.publishMessage("plain");
                    topic.publishMessage("once", List.of("red", "orange"), null);
                    equal("without a filter", bodies(take(any, 4)), List.of("both", "cold", "plain", "once"));
                    equal("with a filter", bodies(take(warm, 2)), List.of("both", "once"));
                    noMessage(warm);
                    refused(Code.TOO_MANY_MESSAGE_TAGS, () -> topic.publishMessage("many", List.of("1", "2", "3", "4", "5", "6"), null));
                })));
    }

    private static void keys() throws Exception {
        withTopic("keys", KEYS, topic ->
            withSubscribedQueue("keys", "star", null, List.of("order.*.paid", "refund"), star ->
                withSubscribedQueue("keys", "hash", null, List.of("order.#"), hashed -> {
                    for (String key : List.of("order.cn.paid", "order", "refund", "order.cn.sent.paid")) {
                        topic.publishMessage(key, key);
                    }
                    equal("by star", bodies(take(star, 2)), List.of("order.cn.paid", "refund"));
                    equal("by hash", bodies(take(hashed, 3)), List.of("order.cn.paid", "order", "order.cn.sent.paid"));
                    noMessage(star);
                    refused(Code.NO_MATCH, () -> topic.publishMessage("lost", "elsewhere"));
                    refused(Code.NO_ROUTING_KEY, () -> topic.publishMessage("keyless"));
                    refused(Code.NO_BINDING_KEY, () -> CMQ.createSubscribe(
                        name("keys"), name("bare"), name("star"), "queue", null, null, DECAY, "SIMPLIFIED"));
                })));
    }

    private static void batch() throws Exception {
        withTopic("many", TAGS, topic ->
            withSubscribedQueue("many", "batch", List.of("t"), null, queue -> {
                List<String> texts = IntStream.range(0, 16).mapToObj(i -> "number " + i).toList();
                List<String> sent = topic.batchPublishMessage(texts, List.of("t"), null);
                var got = take(queue, 16);
                equal("bodies", bodies(got), texts);
                equal("ids", ids(got), List.copyOf(sent));
            }));
    }

    private static void attributes() throws Exception {
        withTopic("described", TAGS, topic ->
            withSubscribedQueue("described", "sub", List.of("one", "two"), null, queue -> {
                refused(Code.SUBSCRIPTION_EXISTS, () -> CMQ.createSubscribe(
                    name("described"), name("sub"), name("sub"), "queue", null, null, DECAY, "SIMPLIFIED"));
                Subscription subscription = CMQ.getSubscription(name("described"), name("sub"));
                SubscriptionMeta seen = subscription.getSubscriptionAttributes();
                equal(
                    "attributes",
                    List.of(seen.Protocal, seen.Endpoint, seen.NotifyContentFormat, seen.NotifyStrategy, seen.msgCount),
                    List.of("queue", name("sub"), "SIMPLIFIED", DECAY, 0)
                );
                // It requests JSON, which a queue cannot get.
                CMQ.createSubscribe(name("described"), name("short"), name("sub"), "queue");
                SubscriptionMeta chosen = CMQ.getSubscription(name("described"), name("short")).getSubscriptionAttributes();
                equal("format", chosen.NotifyContentFormat, "SIMPLIFIED");
                CMQ.deleteSubscribe(name("described"), name("short"));
                equal("tags", seen.FilterTag.stream().sorted().toList(), List.of("one", "two"));
                List<String> listed = new ArrayList<>();
                equal("subscriptions", topic.ListSubscription(0, 10, "", listed), 1);
                equal("listed", listed, List.of(name("sub")));
                SubscriptionMeta changed = new SubscriptionMeta();
                changed.NotifyContentFormat = "SIMPLIFIED";
                changed.FilterTag = new Vector<>(List.of("three"));
                subscription.SetSubscriptionAttributes(changed);
                topic.publishMessage("by the new tag", List.of("three"), null);
                equal("bodies", bodies(take(queue, 1)), List.of("by the new tag"));
                subscription.ClearFilterTags();
                equal("cleared", subscription.getSubscriptionAttributes().FilterTag, new Vector<String>());
                topic.publishMessage("by no tag");
                equal("bodies", bodies(take(queue, 1)), List.of("by no tag"));
            }));
    }

    private static void subscriptionRefused() throws Exception {
        withTopic("refusing", TAGS, topic -> {
            String target = "http://127.0.0.1:9/push";
            refused(Code.UNDEFINED_PROTOCOL, () -> subscribe(target, "smtp", DECAY, "JSON"));
            refused(Code.ENDPOINT_FORMAT, () -> subscribe("ftp://127.0.0.1/push", "http", DECAY, "JSON"));
            refused(Code.BLANK_IN_ENDPOINT, () -> subscribe("http://127.0.0.1/a push", "http", DECAY, "JSON"));
            refused(Code.UNDEFINED_STRATEGY, () -> subscribe(target, "http", "NEVER", "JSON"));
            refused(Code.UNDEFINED_FORMAT, () -> subscribe(target, "http", DECAY, "XML"));
            equal("subscriptions", topic.ListSubscription(0, 10, "", new ArrayList<>()), 0);
        });
    }

    private static void subscribe(String endpoint, String protocol, String strategy, String format) throws Exception {
        CMQ.createSubscribe(name("refusing"), name("refused"), endpoint, protocol, null, null, strategy, format);
    }

    private static void pushJson() throws Exception {
        try (Target target = new Target(seen -> 204)) {
            withTopic("push-json", TAGS, topic -> withPushes("push-json", target, DECAY, "JSON", () -> {
                String id = topic.publishMessage("say \"你好\"", List.of("a", "b"), null);
                Push push = target.arrived(1).get(0);
                equal("content type", push.header("Content-type"), "text/plain");
                equal("agent", push.header("User-agent"), "Qcloud Notification Service Agent");
                equal("message id", push.header("X-cmq-message-id"), id);
                equal("tags", push.header("X-cmq-message-tag"), "a, b");
                JSONObject said = new JSONObject(push.body());
                equal(
                    "body",
                    List.of(said.getString("topicName"), said.getString("msgId"), said.getString("msgBody")),
                    List.of(name("push-json"), id, "say \"你好\"")
                );
                equal("publishTime and owner", said.getInt("publishTime") > 0 && said.has("TopicOwner"), true);
            }));
        }
    }

    private static void pushSimplified() throws Exception {
        try (Target target = new Target(seen -> 200)) {
            withTopic("push-plain", TAGS, topic -> withPushes("push-plain", target, DECAY, "SIMPLIFIED", () -> {
                topic.batchPublishMessage(List.of("one 一", "two\n"));
                equal("bodies", target.arrived(2).stream().map(Push::body).sorted().toList(), List.of("one 一", "two\n"));
            }));
        }
    }

    private static List<Long> gaps(List<Push> pushes) {
        return IntStream.range(1, pushes.size()).mapToObj(i -> pushes.get(i).atMs() - pushes.get(i - 1).atMs()).toList();
    }

    private static void pushBackoff() throws Exception {
        try (Target target = new Target(seen -> seen.get(seen.size() - 1).body().equals("refused") ? 503 : 204)) {
            withTopic("backoff", TAGS, topic -> withPushes("backoff", target, BACKOFF, "SIMPLIFIED", () -> {
                topic.publishMessage("refused");
                topic.publishMessage("taken");
                List<Push> got = target.arrived(5);
                equal("order", got.stream().map(Push::body).toList(), List.of("refused", "refused", "refused", "refused", "taken"));
                for (long gap : gaps(got.subList(0, 4))) {
                    between("ms between pushes", 10_000 * PUSH_CLOCK * 0.95, gap, 20_000 * PUSH_CLOCK + LATENESS);
                }
            }));
        }
    }

    private static void pushDecay() throws Exception {
        try (Target target = new Target(seen -> seen.size() <= DECAY_WAITS.length ? 503 : 204)) {
            withTopic("decay", TAGS, topic -> withPushes("decay", target, DECAY, "SIMPLIFIED", () -> {
                topic.publishMessage("insist");
                List<Long> gaps = gaps(target.arrived(DECAY_WAITS.length + 1));
                for (int i = 0; i < DECAY_WAITS.length; i++) {
                    double due = DECAY_WAITS[i] * 1000 * PUSH_CLOCK;
                    between("ms after " + DECAY_WAITS[i], due * 0.95 - 2, gaps.get(i), due + LATENESS);
                }
                Thread.sleep(LATENESS);
                equal("pushes in the end", target.count(), DECAY_WAITS.length + 1);
            }));
        }
    }

    private static int afterThreeSeconds(List<Push> seen) {
        try {
            Thread.sleep(3000);
        } catch (InterruptedException closed) {
            Thread.currentThread().interrupt();
        }
        return 204;
    }

    private static void pushSlowEndpoint() throws Exception {
        try (Target slow = new Target(Topics::afterThreeSeconds); Target quick = new Target(seen -> 204)) {
            withTopic("slow", TAGS, topic ->
                withPushes("slow", slow, DECAY, "SIMPLIFIED", () ->
                    withPushes("slow", quick, DECAY, "SIMPLIFIED", () -> {
                        long started = System.currentTimeMillis();
                        for (int i = 0; i < 20; i++) {
                            topic.publishMessage("number " + i);
                        }
                        quick.arrived(20);
                        between("ms for the quick endpoint", 0, System.currentTimeMillis() - started, 2500);
                    })));
        }
    }
}
