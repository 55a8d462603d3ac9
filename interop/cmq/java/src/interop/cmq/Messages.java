// Checks of the message actions and of the signature: see ../../../../checks.txt.
package interop.cmq;

import static interop.Checking.equal;
import static interop.cmq.Support.CMQ;
import static interop.cmq.Support.KEY;
import static interop.cmq.Support.between;
import static interop.cmq.Support.bodies;
import static interop.cmq.Support.config;
import static interop.cmq.Support.handles;
import static interop.cmq.Support.ids;
import static interop.cmq.Support.meta;
import static interop.cmq.Support.name;
import static interop.cmq.Support.noMessage;
import static interop.cmq.Support.now;
import static interop.cmq.Support.refused;
import static interop.cmq.Support.sendAll;
import static interop.cmq.Support.sleepPast;
import static interop.cmq.Support.take;
import static interop.cmq.Support.withQueue;

import com.qcloud.cmq.Account;
import com.qcloud.cmq.Message;
import com.qcloud.cmq.Queue;
import com.qcloud.cmq.QueueMeta;
import com.qcloud.cmq.entity.CmqConfig;
import com.qcloud.cmq.entity.CmqResponse;
import interop.Checking.Check;
import interop.Checking;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

final class Messages {
    private static final int BATCH = 16;
    private static final int VISIBILITY = 30;
    private static final int SHORT_VISIBILITY = 1;

    private Messages() {}

    static void addTo(Map<String, Check> checks) {
        checks.put("send-receive-delete", Messages::sendReceiveDelete);
        checks.put("text-of-any-kind", Messages::textOfAnyKind);
        checks.put("body-begins-with-at", Messages::bodyBeginsWithAt);
        checks.put("sign-sha1", () -> signedWith("sha1", "POST"));
        checks.put("sign-sha256", () -> signedWith("sha256", "POST"));
        checks.put("get-method", () -> signedWith("sha256", "GET"));
        checks.put("batch-of-sixteen", Messages::batchOfSixteen);
        checks.put("batch-delete-partial", Messages::batchDeletePartial);
        checks.put("batch-delete-all-bad", Messages::batchDeleteAllBad);
        checks.put("receive-empty", Messages::receiveEmpty);
        checks.put("long-poll-wakes", Messages::longPollWakes);
        checks.put("long-poll-ends", Messages::longPollEnds);
        checks.put("delay", Messages::delay);
        checks.put("older-handle", Messages::olderHandle);
        checks.put("expired-handle", Messages::expiredHandle);
        checks.put("delete-twice", Messages::deleteTwice);
        checks.put("handle-malformed", Messages::handleMalformed);
        checks.put("queue-missing", Messages::queueMissing);
        checks.put("body-empty", Messages::bodyEmpty);
        checks.put("body-too-long", Messages::bodyTooLong);
        checks.put("wrong-key", () -> refused(Code.AUTHENTICATION, () -> list(config(KEY + "x"))));
        checks.put("unknown-key", Messages::unknownKey);
    }

    private static void list(CmqConfig config) throws Exception {
        new Account(config).listQueue("", 0, 1, new java.util.ArrayList<>());
    }

    private static void sendReceiveDelete() throws Exception {
        withQueue("basic", meta(VISIBILITY), queue -> {
            long before = now();
            CmqResponse sent = queue.send("hello");
            Message got = queue.receiveMessage(3);
            equal("body", got.msgBody, "hello");
            equal("message id", got.msgId, sent.getMsgId());
            equal("times received", got.dequeueCount, 1);
            equal("handle in digits", got.receiptHandle.matches("\\d+"), true);
            between("enqueueTime", before, got.enqueueTime, now());
            between("firstDequeueTime", before, got.firstDequeueTime, now());
            between("nextVisibleTime", before + VISIBILITY, got.nextVisibleTime, now() + VISIBILITY + 1);
            noMessage(queue);
            queue.deleteMessage(got.receiptHandle);
            noMessage(queue);
            QueueMeta seen = queue.getQueueAttributes();
            equal("active and inactive messages", List.of(seen.activeMsgNum, seen.inactiveMsgNum), List.of(0, 0));
        });
    }

    private static void textOfAnyKind() throws Exception {
        String[] texts = {"你好，世界", "a+b&c=d/%e?f#g", "one\r\ntwo\tthree", " \"quoted\" \\ {\"json\": [1]} ", "😀", "a_b.c~d*e"};
        withQueue("texts", meta(VISIBILITY), queue -> {
            sendAll(queue, texts);
            equal("bodies", bodies(take(queue, texts.length)), List.of(texts));
        });
    }

    private static void bodyBeginsWithAt() throws Exception {
        withQueue("at", meta(VISIBILITY), queue -> {
            sendAll(queue, "@first");
            queue.batchSend(List.of("@second", "third", "@"));
            equal("bodies", bodies(take(queue, 4)), List.of("@first", "@second", "third", "@"));
        });
    }

    private static void signedWith(String signature, String method) throws Exception {
        withQueue("sign-" + signature + method, meta(VISIBILITY), made -> {
            CmqConfig config = config(KEY);
            config.setSignMethod(signature);
            config.setMethod(method);
            Queue queue = new Account(config).getQueue(name("sign-" + signature + method));
            sendAll(queue, "a b+c&d=é");
            equal("body", queue.receiveMessage(3).msgBody, "a b+c&d=é");
        });
    }

    private static void batchOfSixteen() throws Exception {
        withQueue("batch", meta(VISIBILITY), queue -> {
            List<String> texts = IntStream.range(0, BATCH).mapToObj(i -> "number " + i).toList();
            List<String> sent = queue.batchSend(texts).stream().map(CmqResponse::getMsgId).toList();
            List<Message> got = queue.batchReceiveMessage(BATCH, 3);
            equal("bodies", bodies(got), texts);
            equal("ids", ids(got), sent);
            queue.batchDeleteMessage(handles(got));
            noMessage(queue);
        });
    }

    private static void batchDeletePartial() throws Exception {
        withQueue("partial", meta(SHORT_VISIBILITY), queue -> {
            sendAll(queue, "one", "two", "three");
            List<Message> got = take(queue, 3);
            queue.deleteMessage(got.get(1).receiptHandle);
            refused(Code.DELETE_PARTLY_FAILED, () -> queue.batchDeleteMessage(handles(got)));
            // The valid handles have deleted their messages: none comes back when the locks would have expired.
            sleepPast(got.get(2).nextVisibleTime);
            refused(Code.NO_MESSAGE, () -> queue.receiveMessage(1));
        });
    }

    private static void batchDeleteAllBad() throws Exception {
        withQueue("all-bad", meta(VISIBILITY), queue -> {
            sendAll(queue, "one", "two");
            List<Message> got = take(queue, 2);
            queue.batchDeleteMessage(handles(got));
            refused(Code.DELETE_FAILED, () -> queue.batchDeleteMessage(handles(got)));
        });
    }

    private static void receiveEmpty() throws Exception {
        withQueue("empty", meta(VISIBILITY), queue -> {
            noMessage(queue);
            refused(Code.NO_MESSAGE, () -> queue.receiveMessage());
            refused(Code.NO_MESSAGE, () -> queue.batchReceiveMessage(BATCH));
        });
    }

    private static void longPollWakes() throws Exception {
        withQueue("wakes", meta(VISIBILITY), queue -> {
            Thread sender = new Thread(() -> {
                try {
                    Thread.sleep(500);
                    queue.send("now");
                } catch (Exception error) {
                    throw new IllegalStateException(error);
                }
            });
            long started = System.currentTimeMillis();
            sender.start();
            equal("body", queue.receiveMessage(10).msgBody, "now");
            between("ms until the message came", 400, System.currentTimeMillis() - started, 3000);
            sender.join();
        });
    }

    private static void longPollEnds() throws Exception {
        withQueue("ends", meta(VISIBILITY), queue -> {
            long started = System.currentTimeMillis();
            refused(Code.NO_MESSAGE, () -> queue.receiveMessage(1));
            between("ms waited", 900, System.currentTimeMillis() - started, 3000);
        });
    }

    private static void delay() throws Exception {
        withQueue("delay", meta(VISIBILITY), queue -> {
            long sentAt = System.currentTimeMillis();
            queue.send("later", 1);
            noMessage(queue);
            equal("delayed messages", queue.getQueueAttributes().delayMsgNum, 1);
            equal("body", queue.receiveMessage(5).msgBody, "later");
            between("ms of delay", 950, System.currentTimeMillis() - sentAt, 3000);
            equal("delayed messages", queue.getQueueAttributes().delayMsgNum, 0);
        });
    }

    private static void olderHandle() throws Exception {
        withQueue("older", meta(SHORT_VISIBILITY), queue -> {
            sendAll(queue, "again");
            Message first = queue.receiveMessage(3);
            Message second = queue.receiveMessage(5);
            equal("message id", second.msgId, first.msgId);
            equal("times received", second.dequeueCount, 2);
            equal("first received", second.firstDequeueTime, first.firstDequeueTime);
            equal("handles are the same", second.receiptHandle.equals(first.receiptHandle), false);
            refused(Code.INVALID_HANDLE, () -> queue.deleteMessage(first.receiptHandle));
            queue.deleteMessage(second.receiptHandle);
            refused(Code.NO_MESSAGE, () -> queue.receiveMessage(2));
        });
    }

    private static void expiredHandle() throws Exception {
        withQueue("expired", meta(SHORT_VISIBILITY), queue -> {
            sendAll(queue, "slow");
            Message got = queue.receiveMessage(3);
            sleepPast(got.nextVisibleTime + 1);
            refused(Code.INVALID_HANDLE, () -> queue.deleteMessage(got.receiptHandle));
            equal("body", queue.receiveMessage(3).msgBody, "slow");
        });
    }

    private static void deleteTwice() throws Exception {
        withQueue("twice", meta(VISIBILITY), queue -> {
            sendAll(queue, "once");
            Message got = queue.receiveMessage(3);
            queue.deleteMessage(got.receiptHandle);
            refused(Code.INVALID_HANDLE, () -> queue.deleteMessage(got.receiptHandle));
        });
    }

    private static void handleMalformed() throws Exception {
        withQueue("malformed", meta(VISIBILITY), queue -> refused(Code.RECEIPT_HANDLE_FORMAT, () -> queue.deleteMessage("no handle")));
    }

    private static void queueMissing() throws Exception {
        Queue queue = CMQ.getQueue(name("nowhere"));
        refused(Code.NO_SUCH_QUEUE, () -> queue.send("lost"));
        refused(Code.NO_SUCH_QUEUE, () -> queue.batchSend(List.of("lost")));
        refused(Code.NO_SUCH_QUEUE, () -> queue.receiveMessage());
        refused(Code.NO_SUCH_QUEUE, () -> queue.batchReceiveMessage(1));
        refused(Code.NO_SUCH_QUEUE, () -> queue.deleteMessage("1"));
    }

    private static void bodyEmpty() throws Exception {
        withQueue("nothing", meta(VISIBILITY), queue -> {
            refused(Code.EMPTY_BODY, () -> queue.send(""));
            refused(Code.EMPTY_BODY, () -> queue.batchSend(List.of("good", "")));
            noMessage(queue);
        });
    }

    private static void bodyTooLong() throws Exception {
        QueueMeta small = meta(VISIBILITY);
        small.maxMsgSize = 1024;
        withQueue("long", small, queue -> {
            sendAll(queue, "x".repeat(1024));
            refused(Code.MESSAGE_TOO_LARGE, () -> queue.send("x".repeat(1025)));
            refused(Code.MESSAGE_TOO_LARGE, () -> queue.send("好".repeat(342)));
        });
    }

    private static void unknownKey() throws Exception {
        CmqConfig nobody = config(KEY);
        nobody.setSecretId("AKIDnobodyhasthisidentifier000000000");
        refused(Code.NO_SUCH_SECRET_ID, () -> list(nobody));
    }

    static void restartKeepsLease() throws Exception {
        withQueue("restart", meta(VISIBILITY), queue -> {
            sendAll(queue, "held", "waiting");
            Message held = queue.receiveMessage(3);
            Checking.restartBroker(Checking.requireRestart());
            equal("body", queue.receiveMessage(3).msgBody, "waiting");
            queue.deleteMessage(held.receiptHandle);
            refused(Code.INVALID_HANDLE, () -> queue.deleteMessage(held.receiptHandle));
        });
    }
}
