// Shared by the checks of the CMQ API through Tencent's Go SDK, and one line per check.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	tdmq "github.com/TencentCloud/tencentcloud-cmq-sdk-go"
)

// Longer than the longest poll of the checks.
const clientTimeout = 20 * time.Second

var (
	secretID   = os.Getenv("CMQ_SECRET_ID")
	secretKey  = os.Getenv("CMQ_SECRET_KEY")
	cmq        = newClient(secretID, secretKey)
	moduleCode = regexp.MustCompile(`^\((\d+)\)`)
)

// skip is the panic value of a check that cannot run here; the text is the reason.
type skip string

func newClient(id, key string) *tdmq.Client {
	client, err := tdmq.NewClient(os.Getenv("CMQ_URL"), id, key, clientTimeout)
	must(err)
	return client
}

// name returns a queue or topic name that no other run uses.
func name(suffix string) string {
	return fmt.Sprintf("go-%d-%s", os.Getpid(), suffix)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func equal[T comparable](what string, got, want T) {
	if got != want {
		panic(fmt.Errorf("%s: got %v, want %v", what, got, want))
	}
}

func between(what string, low, value, high int64) {
	if value < low || value > high {
		panic(fmt.Errorf("%s: %d is not within %d to %d", what, value, low, high))
	}
}

// done returns an answer that must be a success.
func done[T tdmq.Result](answer T, err error) T {
	must(err)
	equal("code of "+answer.Message(), answer.Code(), 0)
	return answer
}

// refused asserts an answer with this code and module code.
func refused(want refusal, answer tdmq.Result, err error) {
	must(err)
	stated := moduleCode.FindStringSubmatch(answer.Message())
	if answer.Code() != want.code || stated == nil || stated[1] != strconv.Itoa(want.module) {
		panic(fmt.Errorf("got %d %s, want %d (%d)", answer.Code(), answer.Message(), want.code, want.module))
	}
}

func expectNoMessage(queue string) {
	answer, err := cmq.ReceiveMessage(queue, 0)
	refused(noMessage, answer, err)
}

func sendAll(queue string, texts ...string) {
	for _, text := range texts {
		done(cmq.SendMessage(queue, text, 0))
	}
}

// take receives this many messages in as many requests as needed, without deleting them.
func take(queue string, count int) []tdmq.Message {
	var taken []tdmq.Message
	for len(taken) < count {
		taken = append(taken, done(cmq.BatchReceiveMessage(queue, 3, min(batch, count-len(taken)))).MsgInfos()...)
	}
	return taken
}

func bodies(messages []tdmq.Message) string {
	texts := make([]string, len(messages))
	for i, message := range messages {
		texts[i] = message.MsgBody()
	}
	return fmt.Sprint(texts)
}

func handles(messages []tdmq.Message) []string {
	texts := make([]string, len(messages))
	for i, message := range messages {
		texts[i] = message.Handle()
	}
	return texts
}

func numbered(count int) []string {
	texts := make([]string, count)
	for i := range texts {
		texts[i] = fmt.Sprintf("number %d", i)
	}
	return texts
}

// sleepPast waits until the clock has passed a time that the service stated in whole seconds.
func sleepPast(unixSeconds int64) {
	time.Sleep(time.Until(time.Unix(unixSeconds, 0)) + 50*time.Millisecond)
}

// restartBroker kills the broker and starts it on the same data; it skips the check if that is impossible.
func restartBroker() {
	command := os.Getenv("INTEROP_RESTART")
	if command == "" {
		panic(skip("the broker cannot be restarted"))
	}
	restart := exec.Command("sh", "-c", command)
	restart.Stderr = os.Stderr
	must(restart.Run())
}

// report runs one check and prints its line; false if it failed.
func report(check string, run func()) (passed bool) {
	defer func() {
		switch ended := recover().(type) {
		case nil:
			fmt.Println("ok " + check)
			passed = true
		case skip:
			fmt.Printf("skip %s: %s\n", check, ended)
			passed = true
		default:
			fmt.Printf("FAIL %s: %s\n", check, strings.Join(strings.Fields(fmt.Sprint(ended)), " "))
		}
	}()
	run()
	return
}

func main() {
	failed := false
	for _, check := range checks {
		failed = !report(check.name, check.run) || failed
	}
	if failed {
		os.Exit(1)
	}
}
