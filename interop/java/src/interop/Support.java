// Shared by the two runners besides `Checking`: the environment and names.
package interop;

final class Support {
    static final String URL = System.getenv().getOrDefault("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f");
    static final long QUIET_MS = 300;
    static final int MESSAGES = 200;

    private Support() {}

    /** A queue or exchange name that no other run uses. */
    static String name(String suffix) {
        return "interop.java." + ProcessHandle.current().pid() + "." + suffix;
    }
}
