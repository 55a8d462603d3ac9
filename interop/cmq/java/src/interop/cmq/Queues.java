// Checks of queues, rewinding and dead letters: see ../../../../control.txt.
package interop.cmq;

import static interop.Checking.equal;
import static interop.cmq.Support.CMQ;
import static interop.cmq.Support.between;
import static interop.cmq.Support.bodies;
import static interop.cmq.Support.handles;
import static interop.cmq.Support.ids;
import static interop.cmq.Support.meta;
import static interop.cmq.Support.name;
import static interop.cmq.Support.noMessage;
import static interop.cmq.Support.now;
import static interop.cmq.Support.raw;
import static interop.cmq.Support.refused;
import static interop.cmq.Support.sendAll;
import static interop.cmq.Support.sleepPast;
import static interop.cmq.Support.take;
import static interop.cmq.Support.withQueue;

import com.qcloud.cmq.CMQTool;
import com.qcloud.cmq.Message;
import com.qcloud.cmq.Queue;
import com.qcloud.cmq.QueueMeta;
import interop.Checking.Check;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

final class Queues {
    private static final int VISIBILITY = 30;
    private static final int REWIND = 600;

    private Queues() {}

    static void addTo(Map<String, Check> checks) {
        checks.put("queue-life-cycle", Queues::lifeCycle);
        checks.put("queue-exists", Queues::exists);
        checks.put("queue-name-refused", Queues::nameRefused);
        checks.put("attribute-out-of-range", Queues::outOfRange);
        checks.put("polling-wait-of-queue", Queues::pollingWait);
        checks.put("rewind", Queues::rewind);
        checks.put("rewind-refused", Queues::rewindRefused);
        checks.put("dead-letter-received-too-often", Queues::receivedTooOften);
        checks.put("dead-letter-rules", Queues::deadLetterRules);
    }

    private static void lifeCycle() throws Exception {
        long before = now();
        QueueMeta wanted = meta(20);
        wanted.pollingWaitSeconds = 2;
        wanted.maxMsgSize = 2048;
        wanted.msgRetentionSeconds = 3600;
        CMQ.createQueue(name("life"), wanted);
        List<String> listed = new ArrayList<>();
        equal("queues found", CMQ.listQueue(name("life"), 0, 10, listed), 1);
        equal("listed", listed, List.of(name("life")));
        Queue queue = CMQ.getQueue(name("life"));
        QueueMeta seen = queue.getQueueAttributes();
        equal(
            "attributes",
            List.of(seen.visibilityTimeout, seen.pollingWaitSeconds, seen.maxMsgSize, seen.msgRetentionSeconds, seen.rewindSeconds),
            List.of(20, 2, 2048, 3600, 0)
        );
        equal("maxMsgHeapNum", seen.maxMsgHeapNum, 100_000_000);
        between("createTime", before, seen.createTime, now());
        wanted.visibilityTimeout = 40;
        queue.setQueueAttributes(wanted);
        equal("changed", queue.getQueueAttributes().visibilityTimeout, 40);
        CMQ.deleteQueue(name("life"));
        refused(Code.NO_SUCH_QUEUE, queue::getQueueAttributes);
        refused(Code.NO_SUCH_QUEUE, () -> CMQ.deleteQueue(name("life")));
    }

    private static void exists() throws Exception {
        withQueue("exists", meta(VISIBILITY), queue -> {
            refused(Code.QUEUE_EXISTS, () -> CMQ.createQueue(name("exists"), meta(VISIBILITY)));
            refused(Code.QUEUE_EXISTS, () -> CMQ.createQueue(name("exists").toUpperCase(), meta(VISIBILITY)));
        });
    }

    private static void nameRefused() throws Exception {
        for (String bad : List.of("9lives", "with.dot", "ünicode", "x".repeat(65))) {
            refused(Code.QUEUE_NAME_FORMAT, () -> CMQ.createQueue(bad, meta(VISIBILITY)));
        }
    }

    private static void outOfRange() throws Exception {
        List<Consumer<QueueMeta>> changes = List.of(
            meta -> meta.visibilityTimeout = 43_201,
            meta -> meta.pollingWaitSeconds = 31,
            meta -> meta.maxMsgSize = 1_023,
            meta -> meta.maxMsgSize = 1_048_577,
            meta -> meta.msgRetentionSeconds = 59,
            meta -> meta.msgRetentionSeconds = 1_296_001,
            meta -> meta.maxMsgHeapNum = 999_999
        );
        for (Consumer<QueueMeta> change : changes) {
            QueueMeta bad = meta(VISIBILITY);
            change.accept(bad);
            refused(Code.OUT_OF_RANGE, () -> CMQ.createQueue(name("range"), bad));
        }
        QueueMeta longer = meta(VISIBILITY);
        longer.msgRetentionSeconds = 60;
        longer.rewindSeconds = 61;
        refused(Code.REWIND_BEYOND_RETENTION, () -> CMQ.createQueue(name("range"), longer));
    }

    private static void pollingWait() throws Exception {
        QueueMeta patient = meta(VISIBILITY);
        patient.pollingWaitSeconds = 1;
        withQueue("wait", patient, queue -> {
            long started = System.currentTimeMillis();
            refused(Code.NO_MESSAGE, () -> queue.receiveMessage());
            between("ms waited by default", 900, System.currentTimeMillis() - started, 3000);
        });
    }

    private static void rewind() throws Exception {
        QueueMeta kept = meta(VISIBILITY);
        kept.rewindSeconds = REWIND;
        withQueue("rewind", kept, queue -> {
            List<String> early = sendAll(queue, "one", "two");
            List<Message> first = take(queue, 2);
            sleepPast(first.get(1).enqueueTime + 1);
            List<String> late = sendAll(queue, "three", "four");
            List<Message> second = take(queue, 2);
            queue.batchDeleteMessage(handles(first));
            queue.batchDeleteMessage(handles(second));
            noMessage(queue);
            equal("kept messages", queue.getQueueAttributes().rewindmsgNum, 4);

            queue.rewindQueue((int) second.get(0).enqueueTime);
            List<Message> later = take(queue, 2);
            equal("ids since the later time", ids(later), late);
            queue.batchDeleteMessage(handles(later));
            noMessage(queue);

            queue.rewindQueue((int) first.get(0).enqueueTime);
            List<Message> all = take(queue, 4);
            equal("bodies since the earlier time", bodies(all), List.of("one", "two", "three", "four"));
            equal("ids", ids(all), List.of(early.get(0), early.get(1), late.get(0), late.get(1)));
            queue.batchDeleteMessage(handles(all));
        });
    }

    private static void rewindRefused() throws Exception {
        withQueue("no-rewind", meta(VISIBILITY), queue -> refused(Code.NOT_REWINDABLE, () -> queue.rewindQueue((int) now())));
        QueueMeta kept = meta(VISIBILITY);
        kept.rewindSeconds = REWIND;
        withQueue("rewind-range", kept, queue -> {
            refused(Code.REWIND_TIME, () -> queue.rewindQueue((int) now() - REWIND - 60));
            sendAll(queue, "waiting");
            refused(Code.REWIND_TIME, () -> queue.rewindQueue((int) now() + 60));
        });
    }

    private static void createBound(String queueName, String policy, String visibility) throws Exception {
        CMQTool.checkResult(
            raw("CreateQueue", "queueName", queueName, "deadLetterPolicy", policy, "visibilityTimeout", visibility)
        );
    }

    private static String policy(String deadLetterQueue, String rest) {
        return "{\"deadLetterQueue\":\"" + deadLetterQueue + "\"," + rest + "}";
    }

    private static void receivedTooOften() throws Exception {
        withQueue("dead", meta(VISIBILITY), dead -> {
            createBound(name("source"), policy(name("dead"), "\"policy\":0,\"maxReceiveCount\":2"), "1");
            try {
                Queue source = CMQ.getQueue(name("source"));
                List<String> sent = sendAll(source, "poison");
                equal("times received", source.receiveMessage(5).dequeueCount, 1);
                equal("times received", source.receiveMessage(5).dequeueCount, 2);
                Message moved = dead.receiveMessage(5);
                equal("moved", List.of(moved.msgBody, moved.msgId), List.of("poison", sent.get(0)));
                noMessage(source);
            } finally {
                CMQ.deleteQueue(name("source"));
            }
        });
    }

    private static void deadLetterRules() throws Exception {
        withQueue("grave", meta(VISIBILITY), grave -> {
            String bound = name("bound");
            refused(Code.DEAD_LETTER_NOT_JSON, () -> createBound(bound, "no json", "30"));
            refused(Code.DEAD_LETTER_PARAMETERS, () -> createBound(bound, policy(name("grave"), "\"policy\":0,\"maxReceiveCount\":1001"), "30"));
            refused(Code.DEAD_LETTER_NOT_FOUND, () -> createBound(bound, policy(name("nowhere"), "\"policy\":0,\"maxReceiveCount\":1"), "30"));
            createBound(bound, policy(name("grave"), "\"policy\":1,\"maxTimeToLive\":300"), "30");
            refused(Code.DEAD_LETTER_IN_USE, () -> CMQ.deleteQueue(name("grave")));
            CMQ.deleteQueue(bound);
        });
    }
}
