// Checks of the CMQ API through Tencent's Java SDK (cmq-http-client): one method per name in the lists.
package interop.cmq;

import interop.Checking.Check;
import interop.Checking;
import java.util.LinkedHashMap;
import java.util.Map;

public final class Checks {
    private Checks() {}

    public static void main(String[] chosen) {
        Map<String, Check> checks = new LinkedHashMap<>();
        Messages.addTo(checks);
        Queues.addTo(checks);
        Topics.addTo(checks);
        // The restart comes last, since it ends the connections that the SDK keeps alive.
        checks.put("restart-keeps-lease", Messages::restartKeepsLease);
        Checking.report(checks, chosen);
    }
}
