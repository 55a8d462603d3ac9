// Shared by the Java runners: comparing, waiting, restarting the broker, the report. Independent of any client library.
package interop;

import java.util.Arrays;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;

public final class Checking {
    public static final long DEADLINE_MS = 10_000;

    private Checking() {}

    /** Thrown by a check that cannot run here; the text is the reason. */
    public static final class Skip extends Exception {
        public Skip(String why) {
            super(why);
        }
    }

    /** One check, or one action in it: it passes by returning. */
    public interface Check {
        void run() throws Exception;
    }

    public static void equal(String what, Object got, Object want) {
        if (!Objects.equals(got, want)) {
            throw new AssertionError(what + ": got " + got + ", want " + want);
        }
    }

    /** Polls until the probe returns something that is neither null nor false. */
    public static <T> T eventually(String what, Callable<T> probe) throws Exception {
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

    /** The shell command that restarts the broker; throws a skip if there is none. */
    public static String requireRestart() throws Skip {
        String command = System.getenv("INTEROP_RESTART");
        if (command == null) {
            throw new Skip("the broker cannot be restarted");
        }
        return command;
    }

    /** Kills the broker and starts it on the same data; returns once it greets. */
    public static void restartBroker(String command) throws Exception {
        Process restart = new ProcessBuilder("sh", "-c", command)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
        equal("status of the restart command", restart.waitFor(), 0);
    }

    /** Runs the chosen checks, or all in order, prints a line for each, and exits with 1 if any failed. */
    public static void report(Map<String, Check> checks, String... chosen) {
        boolean failed = false;
        for (String check : chosen.length > 0 ? Arrays.asList(chosen) : checks.keySet()) {
            try {
                checks.get(check).run();
                System.out.println("ok " + check);
            } catch (Skip skip) {
                System.out.println("skip " + check + ": " + skip.getMessage());
            } catch (Exception | AssertionError error) {
                failed = true;
                System.out.println("FAIL " + check + ": " + root(error).toString().replaceAll("\\s+", " "));
            }
        }
        System.out.flush();
        System.exit(failed ? 1 : 0);
    }

    private static Throwable root(Throwable error) {
        return error.getCause() == null ? error : root(error.getCause());
    }
}
