package interop.recovery;

import com.rabbitmq.client.Address;
import com.rabbitmq.client.AlreadyClosedException;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.DeliverCallback;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeoutException;

/** RabbitMQ's Java client with automatic recovery of connections and topology, and three addresses. */
public final class Recovering {
    private static final int BATCH = 10;
    private static final long CONFIRM_MS = 5000;
    private static final long PAUSE_MS = 100;
    private static final String QUEUE = System.getenv("QUEUE");
    private static volatile boolean stopping;

    public static void main(String[] arguments) throws Exception {
        List<Address> addresses = new ArrayList<>();
        for (String url : System.getenv("AMQP_URLS").split(" ")) {
            URI uri = new URI(url);
            addresses.add(new Address(uri.getHost(), uri.getPort()));
        }
        ConnectionFactory factory = new ConnectionFactory();
        factory.setAutomaticRecoveryEnabled(true);
        factory.setTopologyRecoveryEnabled(true);
        factory.setNetworkRecoveryInterval(200);
        factory.setRequestedHeartbeat(4);
        factory.setConnectionTimeout(3000);
        consume(factory.newConnection(addresses).createChannel());
        Thread publisher = new Thread(() -> publish(factory, addresses), "publisher");
        publisher.setDaemon(true);
        publisher.start();
        // A line: publish no more. The end: end.
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        while (input.readLine() != null) {
            stopping = true;
        }
        System.exit(0);
    }

    private static void consume(Channel channel) throws IOException {
        channel.basicQos(50);
        DeliverCallback take = (tag, delivery) -> {
            say("received " + new String(delivery.getBody(), StandardCharsets.UTF_8));
            try {
                channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
            } catch (AlreadyClosedException closed) {
                System.err.println("consumer: " + closed.getMessage());
            }
        };
        channel.basicConsume(QUEUE, false, take, tag -> System.err.println("consumer: cancelled"));
    }

    /** Publishes in batches. Nothing is known of a batch whose confirms did not come. */
    private static void publish(ConnectionFactory factory, List<Address> addresses) {
        long pause = (long) (1000 * BATCH / Double.parseDouble(System.getenv("RATE")));
        int number = 0;
        Channel channel = null;
        while (!stopping) {
            int first = number + 1;
            try {
                if (channel == null) {
                    Connection connection = factory.newConnection(addresses);
                    channel = connection.createChannel();
                    channel.confirmSelect();
                }
                for (; number < first + BATCH - 1; number++) {
                    byte[] body = Integer.toString(number + 1).getBytes(StandardCharsets.UTF_8);
                    channel.basicPublish("", QUEUE, MessageProperties.PERSISTENT_BASIC, body);
                }
                channel.waitForConfirmsOrDie(CONFIRM_MS);
                for (int one = first; one <= number; one++) {
                    say("confirmed " + one);
                }
                Thread.sleep(pause);
            } catch (IOException | ShutdownSignalException | TimeoutException failure) {
                System.err.println("publisher: " + failure);
                number = first + BATCH;
                pause(PAUSE_MS);
            } catch (InterruptedException interrupted) {
                return;
            }
        }
    }

    private static void pause(long milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
