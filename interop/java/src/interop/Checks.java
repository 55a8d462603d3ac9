// Checks of a broker through RabbitMQ's Java client: one method per name in checks.txt.
// The restart check relies on the client's automatic recovery to reconnect.
package interop;

import static interop.Checking.DEADLINE_MS;
import static interop.Support.MESSAGES;
import static interop.Support.QUIET_MS;
import static interop.Support.URL;
import static interop.Checking.equal;
import static interop.Checking.eventually;
import static interop.Support.name;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.AuthenticationFailureException;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.Recoverable;
import com.rabbitmq.client.RecoveryListener;
import com.rabbitmq.client.ShutdownSignalException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

final class Checks {
    private Checks() {}

    /** A check on a connection that is closed after it. */
    private interface OnConnection {
        void run(Connection connection) throws Exception;
    }

    /** A call that the broker must refuse. */
    private interface Refused {
        void run() throws Exception;
    }

    public static void main(String[] arguments) {
        Map<String, Checking.Check> checks = new LinkedHashMap<>();
        checks.put("connect-auth-ok", connected(Checks::connectAuthOk));
        checks.put("connect-auth-refused", Checks::connectAuthRefused);
        checks.put("connect-vhost-missing", Checks::connectVhostMissing);
        checks.put("declare-passive", connected(Checks::declarePassive));
        checks.put("declare-server-named", connected(Checks::declareServerNamed));
        checks.put("declare-inequivalent", connected(Checks::declareInequivalent));
        checks.put("publish-confirm", connected(Checks::publishConfirm));
        checks.put("mandatory-return-before-confirm", connected(Checks::mandatoryReturnBeforeConfirm));
        checks.put("consume-ack", connected(Checks::consumeAck));
        checks.put("body-larger-than-frame", connected(Checks::bodyLargerThanFrame));
        checks.put("nack-requeue-redelivered", connected(Checks::nackRequeueRedelivered));
        checks.put("reject-dead-letter", connected(Checks::rejectDeadLetter));
        checks.put("get-and-get-empty", connected(Checks::getAndGetEmpty));
        checks.put("prefetch-bound", connected(Checks::prefetchBound));
        checks.put("consumer-cancel-notification", connected(Checks::consumerCancelNotification));
        checks.put("heartbeat-idle", Checks::heartbeatIdle);
        checks.put("channel-error-connection-alive", connected(Checks::channelErrorConnectionAlive));
        checks.put("restart-durable", Checks::restartDurable);
        Checking.report(checks);
    }

    private static ConnectionFactory factory() throws Exception {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(URL);
        factory.setAutomaticRecoveryEnabled(false);
        return factory;
    }

    private static Checking.Check connected(OnConnection check) {
        return () -> {
            try (Connection connection = factory().newConnection()) {
                check.run(connection);
            }
        };
    }

    /** Asserts that the call ends with a channel close of this code and text. */
    private static void expectClose(int code, String text, Refused call) throws Exception {
        try {
            call.run();
        } catch (java.io.IOException | ShutdownSignalException error) {
            Throwable signal = error instanceof ShutdownSignalException ? error : error.getCause();
            if (signal instanceof ShutdownSignalException shutdown
                    && shutdown.getReason() instanceof AMQP.Channel.Close close) {
                equal("reply code", close.getReplyCode(), code);
                equal("reply text has '" + text + "': " + close.getReplyText(), close.getReplyText().contains(text), true);
                return;
            }
            throw error;
        }
        throw new AssertionError("no channel error, wanted " + code);
    }

    private static String temporary(Channel channel) throws Exception {
        return channel.queueDeclare("", false, true, false, null).getQueue();
    }

    private static void publish(Channel channel, String queue, String body) throws Exception {
        channel.basicPublish("", queue, null, body.getBytes());
    }

    private static GetResponse take(Channel channel, String queue) throws Exception {
        return eventually("a message in " + queue, () -> channel.basicGet(queue, false));
    }

    private static List<String> drain(Channel channel, String queue) throws Exception {
        List<String> bodies = new ArrayList<>();
        for (GetResponse got = channel.basicGet(queue, true); got != null; got = channel.basicGet(queue, true)) {
            bodies.add(new String(got.getBody()));
        }
        return bodies;
    }

    private static List<String> numbers() {
        List<String> numbers = new ArrayList<>();
        for (int i = 0; i < MESSAGES; i++) {
            numbers.add(Integer.toString(i));
        }
        return numbers;
    }

    private static void connectAuthOk(Connection connection) {
        Object capabilities = connection.getServerProperties().get("capabilities");
        equal("publisher_confirms", ((Map<?, ?>) capabilities).get("publisher_confirms"), true);
        // The client parses the version as integers between dots.
        String version = connection.getServerProperties().get("version").toString();
        equal("version " + version + " is dotted integers", version.matches("\\d+(\\.\\d+)+.*"), true);
    }

    private static void connectAuthRefused() throws Exception {
        ConnectionFactory factory = factory();
        factory.setPassword("wrong");
        try (Connection connection = factory.newConnection()) {
            throw new AssertionError("login with a wrong password was accepted: " + connection);
        } catch (AuthenticationFailureException refused) {
            equal("text " + refused.getMessage(), refused.getMessage().startsWith("ACCESS_REFUSED - Login was refused"), true);
        }
    }

    private static void connectVhostMissing() throws Exception {
        ConnectionFactory factory = factory();
        factory.setVirtualHost("interop-none");
        try (Connection connection = factory.newConnection()) {
            throw new AssertionError("a missing vhost was opened: " + connection);
        } catch (java.io.IOException refused) {
            ShutdownSignalException signal = (ShutdownSignalException) refused.getCause();
            AMQP.Connection.Close close = (AMQP.Connection.Close) signal.getReason();
            equal("reply code", close.getReplyCode(), 530);
            equal("reply text", close.getReplyText(), "NOT_ALLOWED - vhost interop-none not found");
            equal("method", close.getClassId() * 100 + close.getMethodId(), 10 * 100 + 40);
        }
    }

    private static void declarePassive(Connection connection) throws Exception {
        Channel channel = connection.createChannel();
        String queue = temporary(channel);
        publish(channel, queue, "one");
        eventually("message count 1", () -> channel.queueDeclarePassive(queue).getMessageCount() == 1);
        String absent = name("absent");
        expectClose(404, "NOT_FOUND - no queue '" + absent + "' in vhost '/'",
            () -> channel.queueDeclarePassive(absent));
        expectClose(404, "NOT_FOUND - no exchange '" + absent + "' in vhost '/'",
            () -> connection.createChannel().exchangeDeclarePassive(absent));
    }

    private static void declareServerNamed(Connection connection) throws Exception {
        Channel channel = connection.createChannel();
        String first = temporary(channel);
        String second = temporary(channel);
        equal("server's prefix", first.startsWith("amq.gen-"), true);
        equal("same name twice", first.equals(second), false);
        publish(channel, second, "here");
        // The empty name stands for the queue declared last on this channel.
        equal("body", new String(take(channel, "").getBody()), "here");
    }

    private static void declareInequivalent(Connection connection) throws Exception {
        String queue = name("inequivalent");
        Channel keeper = connection.createChannel();
        keeper.queueDeclare(queue, true, false, false, null);
        try {
            expectClose(406,
                "PRECONDITION_FAILED - inequivalent arg 'durable' for queue '" + queue
                    + "' in vhost '/': received 'false' but current is 'true'",
                () -> connection.createChannel().queueDeclare(queue, false, false, false, null));
        } finally {
            keeper.queueDelete(queue);
        }
    }

    private static void publishConfirm(Connection connection) throws Exception {
        Channel channel = connection.createChannel();
        channel.confirmSelect();
        String queue = name("confirm");
        channel.queueDeclare(queue, true, false, false, null);
        try {
            for (String body : numbers()) {
                channel.basicPublish("", queue, MessageProperties.PERSISTENT_BASIC, body.getBytes());
            }
            channel.waitForConfirmsOrDie(DEADLINE_MS);
            equal("messages in the queue", channel.queueDeclarePassive(queue).getMessageCount(), MESSAGES);
            equal("bodies", drain(channel, queue), numbers());
        } finally {
            channel.queueDelete(queue);
        }
    }

    private static void mandatoryReturnBeforeConfirm(Connection connection) throws Exception {
        Channel channel = connection.createChannel();
        channel.confirmSelect();
        BlockingQueue<String> events = new LinkedBlockingQueue<>();
        channel.addReturnListener(returned -> events.add(
            "return " + returned.getReplyCode() + " " + returned.getReplyText() + " " + new String(returned.getBody())));
        channel.addConfirmListener((tag, multiple) -> events.add("ack"), (tag, multiple) -> events.add("nack"));
        channel.basicPublish("", name("nowhere"), true, null, "lost".getBytes());
        equal("first", events.poll(DEADLINE_MS, TimeUnit.MILLISECONDS), "return 312 NO_ROUTE lost");
        equal("second", events.poll(DEADLINE_MS, TimeUnit.MILLISECONDS), "ack");
    }

    private static void consumeAck(Connection connection) throws Exception {
        Channel channel = connection.createChannel();
        String queue = temporary(channel);
        Map<String, Object> headers = new LinkedHashMap<>();
        headers.put("int", 7);
        headers.put("long", 1L << 40);
        headers.put("float", 1.5);
        headers.put("list", List.of(1, true));
        headers.put("table", Collections.singletonMap("k", null));
        AMQP.BasicProperties properties =
            new AMQP.BasicProperties.Builder().headers(headers).messageId("m1").priority(3).expiration("60000").build();
        for (String body : numbers()) {
            channel.basicPublish("", queue, properties, body.getBytes());
        }
        BlockingQueue<Delivery> deliveries = new LinkedBlockingQueue<>();
        channel.basicConsume(queue, false, (tag, delivery) -> deliveries.add(delivery), tag -> {});
        for (String body : numbers()) {
            Delivery delivery = deliveries.poll(DEADLINE_MS, TimeUnit.MILLISECONDS);
            equal("delivered " + body, delivery != null, true);
            equal("body", new String(delivery.getBody()), body);
            equal("properties", delivery.getProperties(), properties);
            equal("redelivered", delivery.getEnvelope().isRedeliver(), false);
            channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
        }
        channel.close();
        equal("left after acks", connection.createChannel().queueDeclarePassive(queue).getMessageCount(), 0);
    }

    private static void bodyLargerThanFrame(Connection connection) throws Exception {
        Channel channel = connection.createChannel();
        String queue = temporary(channel);
        for (int size : new int[] {0, 1, 131_064, 131_065, 1_000_003}) {
            byte[] body = new byte[size];
            for (int i = 0; i < size; i++) {
                body[i] = (byte) (i % 251);
            }
            channel.basicPublish("", queue, null, body);
            equal("same " + size + " bytes", Arrays.equals(take(channel, queue).getBody(), body), true);
        }
    }

    private static void nackRequeueRedelivered(Connection connection) throws Exception {
        Channel channel = connection.createChannel();
        String queue = temporary(channel);
        publish(channel, queue, "a");
        publish(channel, queue, "b");
        for (boolean redelivered : new boolean[] {false, true}) {
            GetResponse got = take(channel, queue);
            equal("body", new String(got.getBody()), "a");
            equal("redelivered", got.getEnvelope().isRedeliver(), redelivered);
            channel.basicNack(got.getEnvelope().getDeliveryTag(), false, true);
        }
    }

    private static void rejectDeadLetter(Connection connection) throws Exception {
        Channel channel = connection.createChannel();
        String exchange = name("dlx");
        String source = name("dl-source");
        channel.exchangeDeclare(exchange, "fanout", false, true, null);
        String target = temporary(channel);
        channel.queueBind(target, exchange, "");
        channel.queueDeclare(source, false, true, false, Map.of("x-dead-letter-exchange", exchange));
        publish(channel, source, "poison");
        channel.basicReject(take(channel, source).getEnvelope().getDeliveryTag(), false);
        GetResponse dead = take(channel, target);
        equal("body", new String(dead.getBody()), "poison");
        equal("exchange", dead.getEnvelope().getExchange(), exchange);
        equal("routing key", dead.getEnvelope().getRoutingKey(), source);
        List<?> deaths = (List<?>) dead.getProps().getHeaders().get("x-death");
        equal("deaths", deaths.size(), 1);
        Map<?, ?> death = (Map<?, ?>) deaths.get(0);
        equal("reason", death.get("reason").toString(), "rejected");
        equal("queue", death.get("queue").toString(), source);
        equal("count", death.get("count"), 1L);
    }

    private static void getAndGetEmpty(Connection connection) throws Exception {
        Channel channel = connection.createChannel();
        channel.confirmSelect();
        String queue = temporary(channel);
        equal("empty queue", channel.basicGet(queue, false), null);
        publish(channel, queue, "1");
        publish(channel, queue, "2");
        channel.waitForConfirmsOrDie(DEADLINE_MS);
        GetResponse first = channel.basicGet(queue, false);
        equal("body", new String(first.getBody()), "1");
        equal("messages left", first.getMessageCount(), 1);
        equal("second message", channel.basicGet(queue, true) != null, true);
        equal("empty again", channel.basicGet(queue, true), null);
    }

    private static List<Delivery> receive(BlockingQueue<Delivery> deliveries, int wanted) throws Exception {
        List<Delivery> taken = new ArrayList<>();
        while (taken.size() < wanted) {
            Delivery delivery = deliveries.poll(DEADLINE_MS, TimeUnit.MILLISECONDS);
            equal("delivery " + taken.size() + " came", delivery != null, true);
            taken.add(delivery);
        }
        equal("further delivery", deliveries.poll(QUIET_MS, TimeUnit.MILLISECONDS), null);
        return taken;
    }

    private static void prefetchBound(Connection connection) throws Exception {
        Channel channel = connection.createChannel();
        String queue = temporary(channel);
        for (int i = 0; i < 20; i++) {
            publish(channel, queue, Integer.toString(i));
        }
        channel.basicQos(5);
        BlockingQueue<Delivery> deliveries = new LinkedBlockingQueue<>();
        channel.basicConsume(queue, false, (tag, delivery) -> deliveries.add(delivery), tag -> {});
        List<Delivery> taken = receive(deliveries, 5);
        channel.basicAck(taken.get(1).getEnvelope().getDeliveryTag(), true);
        receive(deliveries, 2);
    }

    private static void consumerCancelNotification(Connection connection) throws Exception {
        Channel channel = connection.createChannel();
        String queue = name("cancelled");
        channel.queueDeclare(queue, false, false, false, null);
        BlockingQueue<String> cancelled = new LinkedBlockingQueue<>();
        channel.basicConsume(queue, false, "mine", (tag, delivery) -> {}, cancelled::add);
        connection.createChannel().queueDelete(queue);
        equal("cancelled consumer", cancelled.poll(DEADLINE_MS, TimeUnit.MILLISECONDS), "mine");
        temporary(channel);
    }

    private static void heartbeatIdle() throws Exception {
        ConnectionFactory factory = factory();
        factory.setRequestedHeartbeat(1);
        try (Connection connection = factory.newConnection()) {
            equal("negotiated heartbeat", connection.getHeartbeat(), 1);
            Channel channel = connection.createChannel();
            String queue = temporary(channel);
            Thread.sleep(6_000);
            equal("messages after idling", channel.queueDeclarePassive(queue).getMessageCount(), 0);
        }
    }

    private static void channelErrorConnectionAlive(Connection connection) throws Exception {
        Channel bystander = connection.createChannel();
        String queue = temporary(bystander);
        Channel failing = connection.createChannel();
        failing.basicAck(99, false);
        expectClose(406, "PRECONDITION_FAILED - unknown delivery tag 99", () -> temporary(failing));
        equal("connection open", connection.isOpen(), true);
        bystander.queueDeclarePassive(queue);
        connection.createChannel().close();
    }

    private static void restartDurable() throws Exception {
        String restart = Checking.requireRestart();
        String exchange = name("restart-x");
        String queue = name("restart");
        ConnectionFactory factory = factory();
        factory.setAutomaticRecoveryEnabled(true);
        // The client does not redeclare anything: durable queues must be there after the restart.
        factory.setTopologyRecoveryEnabled(false);
        factory.setNetworkRecoveryInterval(200);
        try (Connection connection = factory.newConnection()) {
            CountDownLatch recovered = new CountDownLatch(1);
            ((Recoverable) connection).addRecoveryListener(onRecovery(recovered));
            Channel channel = connection.createChannel();
            channel.exchangeDeclare(exchange, "direct", true);
            channel.queueDeclare(queue, true, false, false, null);
            channel.queueBind(queue, exchange, "key");
            channel.confirmSelect();
            for (String body : numbers()) {
                channel.basicPublish(exchange, "key", MessageProperties.PERSISTENT_BASIC, body.getBytes());
            }
            channel.waitForConfirmsOrDie(DEADLINE_MS);
            for (int i = 0; i < 10; i++) {
                take(channel, queue);
            }
            Checking.restartBroker(restart);
            equal("recovered", recovered.await(30, TimeUnit.SECONDS), true);
            channel.basicPublish(exchange, "key", MessageProperties.PERSISTENT_BASIC, "after".getBytes());
            channel.waitForConfirmsOrDie(DEADLINE_MS);
            equal("messages after", channel.queueDeclarePassive(queue).getMessageCount(), MESSAGES + 1);
            List<String> want = numbers();
            want.add("after");
            equal("bodies", drain(channel, queue), want);
            channel.queueDelete(queue);
            channel.exchangeDelete(exchange);
        }
    }

    private static RecoveryListener onRecovery(CountDownLatch recovered) {
        return new RecoveryListener() {
            @Override
            public void handleRecovery(Recoverable recoverable) {
                recovered.countDown();
            }

            @Override
            public void handleRecoveryStarted(Recoverable recoverable) {}
        };
    }
}
