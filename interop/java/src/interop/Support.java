// What the two runners share: the environment, waiting, comparing, the report. No check lives here.
package interop;

import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;

final class Support {
    static final String URL = System.getenv().getOrDefault("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f");
    static final long DEADLINE_MS = 10_000;
    static final long QUIET_MS = 300;
    static final int MESSAGES = 200;

    private Support() {}

    /** Thrown by a check that cannot run here; the text says why. */
    static final class Skip extends Exception {
        Skip(String why) {
            super(why);
        }
    }

    /** One check: it passes by returning. */
    interface Check {
        void run() throws Exception;
    }

    /** A queue or exchange name that no other run uses. */
    static String name(String suffix) {
        return "interop.java." + ProcessHandle.current().pid() + "." + suffix;
    }

    static void equal(String what, Object got, Object want) {
        if (!Objects.equals(got, want)) {
            throw new AssertionError(what + ": got " + got + ", want " + want);
        }
    }

    /** Polls until the probe gives something that is neither null nor false. */
    static <T> T eventually(String what, Callable<T> probe) throws Exception {
        long end = System.currentTimeMillis() + DEADLINE_MS;
        while (System.currentTimeMillis() < end) {
            T seen = probe.call();
            if (seen != null && !Boolean.FALSE.equals(seen)) {
                return seen;
            }
            Thread.sleep(20);
        }
        throw new AssertionError(what + ": not seen within " + DEADLINE_MS + " ms");
    }

    /** The shell command that restarts the broker, or a skip when the broker is not ours. */
    static String requireRestart() throws Skip {
        String command = System.getenv("INTEROP_RESTART");
        if (command == null) {
            throw new Skip("no broker of our own to restart");
        }
        return command;
    }

    /** Kills the broker and starts it on the same data; returns once it greets. */
    static void restartBroker(String command) throws IOException, InterruptedException {
        Process restart = new ProcessBuilder("sh", "-c", command)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
        equal("status of the restart command", restart.waitFor(), 0);
    }

    /** Runs the checks in order, one line each, and ends the program with their verdict. */
    static void report(Map<String, Check> checks) {
        boolean failed = false;
        for (Map.Entry<String, Check> entry : new LinkedHashMap<>(checks).entrySet()) {
            try {
                entry.getValue().run();
                System.out.println("ok " + entry.getKey());
            } catch (Skip skip) {
                System.out.println("skip " + entry.getKey() + ": " + skip.getMessage());
            } catch (Exception | AssertionError error) {
                failed = true;
                Throwable root = error;
                while (root.getCause() != null) {
                    root = root.getCause();
                }
                System.out.println("FAIL " + entry.getKey() + ": " + root.toString().replaceAll("\\s+", " "));
            }
        }
        System.out.flush();
        System.exit(failed ? 1 : 0);
    }
}
