// Shared by the checks besides `Checking`: accounts, temporary queues, refusals with their codes, a push target.
// Everything goes through the SDK as it is published.
package interop.cmq;

import static interop.Checking.eventually;

import com.qcloud.cmq.Account;
import com.qcloud.cmq.CMQClient;
import com.qcloud.cmq.CMQServerException;
import com.qcloud.cmq.Message;
import com.qcloud.cmq.Queue;
import com.qcloud.cmq.QueueMeta;
import com.qcloud.cmq.entity.CmqConfig;
import com.sun.net.httpserver.HttpServer;
import interop.Checking.Check;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

final class Support {
    static final String ID = System.getenv("CMQ_SECRET_ID");
    static final String KEY = System.getenv("CMQ_SECRET_KEY");
    // The factor by which the broker under test scales the waits between pushes.
    static final double PUSH_CLOCK = Double.parseDouble(System.getenv("CMQ_PUSH_CLOCK"));
    static final Account CMQ = new Account(config(KEY));
    private static final Pattern REFUSAL = Pattern.compile("code:(\\d+), message:(?:\\((\\d+)\\))?.*", Pattern.DOTALL);

    private Support() {}

    /** Code that runs while a queue or a topic exists. */
    interface With<T> {
        void run(T thing) throws Exception;
    }

    /** One push as it arrived. */
    record Push(long atMs, Map<String, List<String>> headers, String body) {
        String header(String name) {
            return headers.getOrDefault(name, List.of("")).get(0);
        }
    }

    static CmqConfig config(String key) {
        CmqConfig config = new CmqConfig();
        config.setEndpoint(System.getenv("CMQ_URL"));
        config.setSecretId(ID);
        config.setSecretKey(key);
        config.setPrintSlow(false);
        return config;
    }

    /** A queue or topic name that no other run uses. */
    static String name(String suffix) {
        return "java-" + ProcessHandle.current().pid() + "-" + suffix;
    }

    /** Default attributes except for the lock time, in seconds. */
    static QueueMeta meta(int visibilityTimeout) {
        QueueMeta meta = new QueueMeta();
        meta.visibilityTimeout = visibilityTimeout;
        return meta;
    }

    static void withQueue(String suffix, QueueMeta meta, With<Queue> body) throws Exception {
        CMQ.createQueue(name(suffix), meta);
        try {
            body.run(CMQ.getQueue(name(suffix)));
        } finally {
            CMQ.deleteQueue(name(suffix));
        }
    }

    /** Sends an action by the SDK's own request, with parameters that its objects have no field for. */
    static String raw(String action, String... namesAndValues) throws Exception {
        TreeMap<String, String> parameters = new TreeMap<>();
        for (int i = 0; i < namesAndValues.length; i += 2) {
            parameters.put(namesAndValues[i], namesAndValues[i + 1]);
        }
        return new CMQClient(config(KEY)).call(action, parameters);
    }

    static void between(String what, double low, double value, double high) {
        if (value < low || value > high) {
            throw new AssertionError(what + ": " + value + " is not within " + low + " to " + high);
        }
    }

    /** Asserts that the service refuses the action with this code and one of these module codes. */
    static void refused(int code, List<Integer> modules, Check action) throws Exception {
        try {
            action.run();
        } catch (CMQServerException error) {
            Matcher stated = REFUSAL.matcher(error.toString());
            boolean right = stated.matches()
                && Integer.parseInt(stated.group(1)) == code
                && stated.group(2) != null
                && modules.contains(Integer.parseInt(stated.group(2)));
            if (!right) {
                throw new AssertionError("got " + error + ", want " + code + " with one of " + modules);
            }
            return;
        }
        throw new AssertionError("not refused, want " + code + " with one of " + modules);
    }

    static void refused(Code code, Check action) throws Exception {
        refused(code.code, List.of(code.module), action);
    }

    static void noMessage(Queue queue) throws Exception {
        refused(Code.NO_MESSAGE, () -> queue.receiveMessage(0));
    }

    static List<String> sendAll(Queue queue, String... bodies) throws Exception {
        List<String> ids = new ArrayList<>();
        for (String body : bodies) {
            ids.add(queue.send(body).getMsgId());
        }
        return ids;
    }

    /** Receives this many messages in as many requests as needed, without deleting them. */
    static List<Message> take(Queue queue, int count) throws Exception {
        List<Message> taken = new ArrayList<>();
        while (taken.size() < count) {
            taken.addAll(queue.batchReceiveMessage(Math.min(16, count - taken.size()), 3));
        }
        return taken;
    }

    static List<String> bodies(List<Message> messages) {
        return messages.stream().map(message -> message.msgBody).toList();
    }

    static List<String> ids(List<Message> messages) {
        return messages.stream().map(message -> message.msgId).toList();
    }

    static List<String> handles(List<Message> messages) {
        return messages.stream().map(message -> message.receiptHandle).toList();
    }

    static long now() {
        return System.currentTimeMillis() / 1000;
    }

    /** Waits until the clock has passed a time that the service stated in whole seconds. */
    static void sleepPast(long unixSeconds) throws InterruptedException {
        Thread.sleep(Math.max(0, unixSeconds * 1000 - System.currentTimeMillis()) + 50);
    }

    /** An HTTP server that records each push and answers with a status computed from the pushes so far. */
    static final class Target implements AutoCloseable {
        private final List<Push> pushes = new ArrayList<>();
        private final HttpServer server;
        private final ExecutorService threads = Executors.newCachedThreadPool();

        Target(Function<List<Push>, Integer> answer) throws IOException {
            server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
            server.setExecutor(threads);
            server.createContext("/", exchange -> {
                String body = new String(exchange.getRequestBody().readAllBytes(), StandardCharsets.UTF_8);
                List<Push> seen;
                synchronized (pushes) {
                    pushes.add(new Push(System.nanoTime() / 1_000_000, exchange.getRequestHeaders(), body));
                    seen = List.copyOf(pushes);
                }
                exchange.sendResponseHeaders(answer.apply(seen), -1);
                exchange.close();
            });
            server.start();
        }

        String url() {
            return "http://127.0.0.1:" + server.getAddress().getPort() + "/push";
        }

        int count() {
            synchronized (pushes) {
                return pushes.size();
            }
        }

        /** Waits for this many pushes and returns them. */
        List<Push> arrived(int count) throws Exception {
            eventually(count + " pushes", () -> count() >= count);
            synchronized (pushes) {
                return List.copyOf(pushes.subList(0, count));
            }
        }

        @Override
        public void close() {
            server.stop(0);
            threads.shutdownNow();
        }
    }
}
