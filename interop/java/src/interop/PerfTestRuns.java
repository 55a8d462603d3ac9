// Runs PerfTest, RabbitMQ's load tool, for a few seconds with several options.
// A run passes when the tool exits with 0 and reports sent and received messages.
package interop;

import static interop.Support.URL;
import static interop.Support.name;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

final class PerfTestRuns {
    private static final Pattern SENT = Pattern.compile("sending rate avg: (\\d+)");
    private static final Pattern RECEIVED = Pattern.compile("receiving rate avg: (\\d+)");
    private static final String SECONDS = "4";
    private static final long LIMIT_SECONDS = 60;

    private PerfTestRuns() {}

    public static void main(String[] arguments) {
        Map<String, Checking.Check> runs = new LinkedHashMap<>();
        runs.put("confirms-and-acks", () -> run(
            "--queue", name("perf-confirms"), "--auto-delete", "true", "--flag", "persistent",
            "--confirm", "100", "--qos", "100", "--size", "1000"));
        runs.put("multiple-producers-consumers", () -> run(
            "--queue", name("perf-many"), "--auto-delete", "true", "--producers", "4", "--consumers", "4",
            "--confirm", "50", "--qos", "50"));
        runs.put("queue-arguments", () -> run(
            "--queue", name("perf-args"), "--auto-delete", "true", "--confirm", "50", "--qos", "50",
            "--queue-args", "x-max-length=100000,x-message-ttl=60000,x-overflow=reject-publish",
            "--message-properties", "priority=5,headers.tenant=a"));
        runs.put("multi-ack-auto-ack", () -> {
            run("--queue", name("perf-multi"), "--auto-delete", "true", "--multi-ack-every", "20", "--qos", "100");
            run("--queue", name("perf-auto"), "--auto-delete", "true", "--autoack");
        });
        runs.put("topic-exchange-rate-limited", () -> run(
            "--queue", name("perf-topic"), "--auto-delete", "true", "--exchange", name("perf-x"), "--type", "topic",
            "--routing-key", "a.b.c", "--producers", "2", "--rate", "200", "--confirm", "10", "--flag", "mandatory"));
        Checking.report(runs);
    }

    /** One run of the tool in a new process, as a user starts it. */
    private static void run(String... options) throws Exception {
        List<String> command = new ArrayList<>(List.of(
            ProcessHandle.current().info().command().orElse("java"), "-cp", System.getProperty("java.class.path"),
            "com.rabbitmq.perf.PerfTest", "--uri", URL, "--time", SECONDS));
        command.addAll(List.of(options));
        Process tool = new ProcessBuilder(command).redirectErrorStream(true).start();
        StringBuilder output = new StringBuilder();
        Thread reader = new Thread(() -> {
            try (BufferedReader lines = new BufferedReader(new InputStreamReader(tool.getInputStream()))) {
                lines.lines().forEach(line -> output.append(line).append('\n'));
            } catch (java.io.IOException | java.io.UncheckedIOException error) {
                output.append(error);
            }
        });
        reader.start();
        if (!tool.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)) {
            tool.destroyForcibly();
            throw new AssertionError("still running after " + LIMIT_SECONDS + " s: " + tail(output));
        }
        reader.join();
        if (tool.exitValue() != 0 || rate(SENT, output) == 0 || rate(RECEIVED, output) == 0) {
            throw new AssertionError("status " + tool.exitValue() + ": " + tail(output));
        }
    }

    private static long rate(Pattern pattern, CharSequence output) {
        Matcher matcher = pattern.matcher(output);
        return matcher.find() ? Long.parseLong(matcher.group(1)) : 0;
    }

    private static String tail(StringBuilder output) {
        return output.substring(Math.max(0, output.length() - 600));
    }
}
