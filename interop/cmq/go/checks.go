// The checks: see ../checks.txt and checks.txt beside this file. A check passes by returning; it fails by panicking.
package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	tdmq "github.com/TencentCloud/tencentcloud-cmq-sdk-go"
)

const (
	batch      = 16
	visibility = 30
	tags       = 1
	keys       = 2
)

var (
	short    = map[string]string{"visibilityTimeout": "1"}
	long     = map[string]string{"visibilityTimeout": "30"}
	decimals = regexp.MustCompile(`^\d+$`)
)

var checks = []struct {
	name string
	run  func()
}{
	{"send-receive-delete", sendReceiveDelete},
	{"text-of-any-kind", textOfAnyKind},
	{"body-begins-with-at", bodyBeginsWithAt},
	{"sign-sha1", func() { signedWith("POST", tdmq.HmacSHA1) }},
	{"sign-sha256", func() { signedWith("POST", tdmq.HmacSHA256) }},
	{"get-method", func() { signedWith("GET", tdmq.HmacSHA256) }},
	{"batch-of-sixteen", batchOfSixteen},
	{"batch-delete-partial", batchDeletePartial},
	{"batch-delete-all-bad", batchDeleteAllBad},
	{"receive-empty", receiveEmpty},
	{"long-poll-wakes", longPollWakes},
	{"long-poll-ends", longPollEnds},
	{"delay", delay},
	{"older-handle", olderHandle},
	{"expired-handle", expiredHandle},
	{"delete-twice", deleteTwice},
	{"handle-malformed", handleMalformed},
	{"queue-missing", queueMissing},
	{"body-empty", func() { panic(skip("the SDK refuses it itself")) }},
	{"body-too-long", bodyTooLong},
	{"wrong-key", wrongKey},
	{"unknown-key", unknownKey},
	{"topic-tags", topicTags},
	{"topic-keys", topicKeys},
	{"topic-batch", topicBatch},
	{"client-request-id", clientRequestID},
	{"restart-keeps-lease", restartKeepsLease},
}

func sendReceiveDelete() {
	withQueue("basic", long, func(queue string) {
		before := time.Now().Unix()
		sent := done(cmq.SendMessage(queue, "hello", 0))
		got := done(cmq.ReceiveMessage(queue, 3))
		now := time.Now().Unix()
		equal("body", got.MsgBody(), "hello")
		equal("message id", got.MsgId(), sent.MsgId())
		equal("times received", got.DequeueCount(), int64(1))
		equal("handle in digits", decimals.MatchString(got.Handle()), true)
		between("enqueueTime", before, got.EnqueueTime(), now)
		between("firstDequeueTime", before, got.FirstDequeueTime(), now)
		between("nextVisibleTime", before+visibility, got.NextVisibleTime(), now+visibility+1)
		expectNoMessage(queue)
		done(cmq.DeleteMessage(queue, got.Handle()))
		expectNoMessage(queue)
	})
}

func textOfAnyKind() {
	texts := []string{"你好，世界", "a+b&c=d/%e?f#g", "one\r\ntwo\tthree", ` "quoted" \ {"json": [1]} `, "😀", "a_b.c~d*e"}
	withQueue("texts", long, func(queue string) {
		sendAll(queue, texts...)
		equal("bodies", bodies(take(queue, len(texts))), fmt.Sprint(texts))
	})
}

func bodyBeginsWithAt() {
	withQueue("at", long, func(queue string) {
		sendAll(queue, "@first")
		done(cmq.BatchSendMessage(queue, []string{"@second", "third", "@"}, 0))
		equal("bodies", bodies(take(queue, 4)), fmt.Sprint([]string{"@first", "@second", "third", "@"}))
	})
}

func signedWith(method, signature string) {
	withQueue("sign", long, func(queue string) {
		client := newClient(secretID, secretKey)
		client.Method, client.SignMethod = method, signature
		done(client.SendMessage(queue, "a b+c&d=é", 0))
		equal("body", done(client.ReceiveMessage(queue, 3)).MsgBody(), "a b+c&d=é")
	})
}

func batchOfSixteen() {
	withQueue("batch", long, func(queue string) {
		texts := numbered(batch)
		sent := done(cmq.BatchSendMessage(queue, texts, 0)).MsgIDs()
		got := done(cmq.BatchReceiveMessage(queue, 3, batch)).MsgInfos()
		equal("bodies", bodies(got), fmt.Sprint(texts))
		for i, message := range got {
			equal("id", message.MsgId(), sent[i].MsgId())
		}
		done(cmq.BatchDeleteMessage(queue, handles(got)))
		expectNoMessage(queue)
	})
}

func batchDeletePartial() {
	withQueue("partial", short, func(queue string) {
		sendAll(queue, "one", "two", "three")
		got := take(queue, 3)
		done(cmq.DeleteMessage(queue, got[1].Handle()))
		answer, err := cmq.BatchDeleteMessage(queue, handles(got))
		refused(deletePartlyFailed, answer, err)
		equal("handles that failed", len(answer.Errors()), 1)
		equal("handle that failed", answer.Errors()[0].Handle(), got[1].Handle())
		equal("code of the handle", answer.Errors()[0].Code(), 4430)
		// The valid handles have deleted their messages: none comes back when the locks would have expired.
		sleepPast(got[2].NextVisibleTime())
		empty, err := cmq.ReceiveMessage(queue, 1)
		refused(noMessage, empty, err)
	})
}

func batchDeleteAllBad() {
	withQueue("all-bad", long, func(queue string) {
		sendAll(queue, "one", "two")
		got := take(queue, 2)
		done(cmq.BatchDeleteMessage(queue, handles(got)))
		answer, err := cmq.BatchDeleteMessage(queue, handles(got))
		refused(deleteFailed, answer, err)
		equal("entries", len(answer.Errors()), 2)
	})
}

func receiveEmpty() {
	withQueue("empty", long, func(queue string) {
		expectNoMessage(queue)
		answer, err := cmq.BatchReceiveMessage(queue, 0, batch)
		refused(noMessage, answer, err)
	})
}

func longPollWakes() {
	withQueue("wakes", long, func(queue string) {
		sent := make(chan error, 1)
		started := time.Now()
		time.AfterFunc(500*time.Millisecond, func() {
			_, err := newClient(secretID, secretKey).SendMessage(queue, "now", 0)
			sent <- err
		})
		equal("body", done(cmq.ReceiveMessage(queue, 10)).MsgBody(), "now")
		between("ms until the message came", 400, time.Since(started).Milliseconds(), 3000)
		must(<-sent)
	})
}

func longPollEnds() {
	withQueue("ends", long, func(queue string) {
		started := time.Now()
		answer, err := cmq.ReceiveMessage(queue, 1)
		refused(noMessage, answer, err)
		between("ms waited", 900, time.Since(started).Milliseconds(), 3000)
	})
}

func delay() {
	withQueue("delay", long, func(queue string) {
		sentAt := time.Now()
		done(cmq.SendMessage(queue, "later", 1))
		expectNoMessage(queue)
		equal("body", done(cmq.ReceiveMessage(queue, 5)).MsgBody(), "later")
		between("ms of delay", 950, time.Since(sentAt).Milliseconds(), 3000)
	})
}

func olderHandle() {
	withQueue("older", short, func(queue string) {
		sendAll(queue, "again")
		first := done(cmq.ReceiveMessage(queue, 3))
		second := done(cmq.ReceiveMessage(queue, 5))
		equal("message id", second.MsgId(), first.MsgId())
		equal("times received", second.DequeueCount(), int64(2))
		equal("first received", second.FirstDequeueTime(), first.FirstDequeueTime())
		equal("handles are the same", second.Handle() == first.Handle(), false)
		answer, err := cmq.DeleteMessage(queue, first.Handle())
		refused(invalidHandle, answer, err)
		done(cmq.DeleteMessage(queue, second.Handle()))
		empty, err := cmq.ReceiveMessage(queue, 2)
		refused(noMessage, empty, err)
	})
}

func expiredHandle() {
	withQueue("expired", short, func(queue string) {
		sendAll(queue, "slow")
		got := done(cmq.ReceiveMessage(queue, 3))
		sleepPast(got.NextVisibleTime() + 1)
		answer, err := cmq.DeleteMessage(queue, got.Handle())
		refused(invalidHandle, answer, err)
		equal("body", done(cmq.ReceiveMessage(queue, 3)).MsgBody(), "slow")
	})
}

func deleteTwice() {
	withQueue("twice", long, func(queue string) {
		sendAll(queue, "once")
		got := done(cmq.ReceiveMessage(queue, 3))
		done(cmq.DeleteMessage(queue, got.Handle()))
		answer, err := cmq.DeleteMessage(queue, got.Handle())
		refused(invalidHandle, answer, err)
	})
}

func handleMalformed() {
	withQueue("malformed", long, func(queue string) {
		answer, err := cmq.DeleteMessage(queue, "no-handle")
		refused(receiptHandleFormat, answer, err)
	})
}

func queueMissing() {
	queue := name("nowhere")
	sent, err := cmq.SendMessage(queue, "lost", 0)
	refused(noSuchQueue, sent, err)
	all, err := cmq.BatchSendMessage(queue, []string{"lost"}, 0)
	refused(noSuchQueue, all, err)
	got, err := cmq.ReceiveMessage(queue, 0)
	refused(noSuchQueue, got, err)
	deleted, err := cmq.DeleteMessage(queue, "1")
	refused(noSuchQueue, deleted, err)
}

func bodyTooLong() {
	withQueue("long", map[string]string{"maxMsgSize": "1024"}, func(queue string) {
		sendAll(queue, strings.Repeat("x", 1024))
		answer, err := cmq.SendMessage(queue, strings.Repeat("x", 1025), 0)
		refused(messageTooLarge, answer, err)
		answer, err = cmq.SendMessage(queue, strings.Repeat("好", 342), 0)
		refused(messageTooLarge, answer, err)
	})
}

func wrongKey() {
	answer, err := newClient(secretID, secretKey+"x").SendMessage(name("any"), "no", 0)
	refused(authentication, answer, err)
}

func unknownKey() {
	answer, err := newClient("AKIDnobodyhasthisidentifier000000000", secretKey).SendMessage(name("any"), "no", 0)
	refused(noSuchSecretId, answer, err)
}

func topicTags() {
	withTopic("tags", tags, map[string]string{"filterTag.1": "red", "filterTag.2": "orange"}, func(topic, queue string) {
		done(cmq.PublishMessage(topic, "both", "", []string{"red", "blue"}))
		done(cmq.PublishMessage(topic, "once", "", []string{"red", "orange"}))
		answer, err := cmq.PublishMessage(topic, "lost", "", []string{"green"})
		refused(noMatch, answer, err)
		equal("bodies", bodies(take(queue, 2)), fmt.Sprint([]string{"both", "once"}))
		expectNoMessage(queue)
	})
}

func topicKeys() {
	withTopic("keys", keys, map[string]string{"bindingKey.1": "order.#"}, func(topic, queue string) {
		done(cmq.PublishMessage(topic, "one", "order", nil))
		done(cmq.PublishMessage(topic, "two", "order.cn.paid", nil))
		answer, err := cmq.PublishMessage(topic, "lost", "refund", nil)
		refused(noMatch, answer, err)
		answer, err = cmq.PublishMessage(topic, "keyless", "", nil)
		refused(noRoutingKey, answer, err)
		equal("bodies", bodies(take(queue, 2)), fmt.Sprint([]string{"one", "two"}))
	})
}

func topicBatch() {
	withTopic("many", tags, nil, func(topic, queue string) {
		sent := done(cmq.BatchPublishMessage(topic, "", numbered(batch), []string{"any"})).MsgIDs()
		got := take(queue, batch)
		equal("bodies", bodies(got), fmt.Sprint(numbered(batch)))
		for i, message := range got {
			equal("id", message.MsgId(), sent[i].MsgId())
		}
	})
}

func clientRequestID() {
	withQueue("echo", long, func(queue string) {
		client := newClient(secretID, secretKey)
		client.Id = 12345
		equal("echoed", done(client.SendMessage(queue, "numbered", 0)).ClientId(), uint64(12345))
	})
}

func restartKeepsLease() {
	withQueue("restart", long, func(queue string) {
		sendAll(queue, "held", "waiting")
		held := done(cmq.ReceiveMessage(queue, 3))
		restartBroker()
		equal("body", done(cmq.ReceiveMessage(queue, 3)).MsgBody(), "waiting")
		done(cmq.DeleteMessage(queue, held.Handle()))
		answer, err := cmq.DeleteMessage(queue, held.Handle())
		refused(invalidHandle, answer, err)
	})
}
