// Runs the checks of checks.go and prints one line for each. This file has the environment, the deadlines and the report.
package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	messages = 200
	deadline = 10 * time.Second
	quiet    = 300 * time.Millisecond
)

var brokerURL = envOr("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")

// errSkip marks a check that cannot run here.
var errSkip = errors.New("the broker cannot be restarted")

func envOr(key, fallback string) string {
	if value := os.Getenv(key); value != "" {
		return value
	}
	return fallback
}

// name is a queue or exchange name that no other run uses.
func name(suffix string) string {
	return fmt.Sprintf("interop.amqp091-go.%d.%s", os.Getpid(), suffix)
}

// urlWith replaces the password or the vhost of the broker's URL; empty means unchanged.
func urlWith(password, vhost string) string {
	parsed, err := url.Parse(brokerURL)
	if err != nil {
		return brokerURL
	}
	if password != "" {
		parsed.User = url.UserPassword("guest", password)
	}
	if vhost != "" {
		parsed.Path, parsed.RawPath = "/"+vhost, ""
	}
	return parsed.String()
}

// eventually polls until the probe is true.
func eventually(what string, probe func() (bool, error)) error {
	end := time.Now().Add(deadline)
	for time.Now().Before(end) {
		seen, err := probe()
		if err != nil || seen {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("%s: not seen within %s", what, deadline)
}

// restartBroker kills the broker and starts it on the same data; it returns once the broker greets.
func restartBroker() error {
	command := os.Getenv("INTEROP_RESTART")
	if command == "" {
		return errSkip
	}
	restart := exec.Command("sh", "-c", command)
	restart.Stderr = os.Stderr
	return restart.Run()
}

// wantEqual returns an error unless both values are equal.
func wantEqual(what string, got, want any) error {
	if fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) {
		return fmt.Errorf("%s: got %#v, want %#v", what, got, want)
	}
	return nil
}

// wantClose asserts the channel or connection error with this code and text.
func wantClose(code int, text string, err error) error {
	var closed *amqp.Error
	if !errors.As(err, &closed) {
		return fmt.Errorf("wanted %d, got %v", code, err)
	}
	if closed.Code != code || !strings.Contains(closed.Reason, text) {
		return fmt.Errorf("wanted %d %q, got %d %q", code, text, closed.Code, closed.Reason)
	}
	return nil
}

// run gives a check its own connection, which the check may close.
func run(check func(*amqp.Connection) error) (err error) {
	connection, err := amqp.Dial(brokerURL)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() {
		if closing := connection.Close(); err == nil && closing != nil && !errors.Is(closing, amqp.ErrClosed) {
			err = fmt.Errorf("close: %w", closing)
		}
	}()
	return check(connection)
}

func main() {
	failed := false
	for _, check := range checks {
		switch err := run(check.body); {
		case err == nil:
			fmt.Printf("ok %s\n", check.name)
		case errors.Is(err, errSkip):
			fmt.Printf("skip %s: %v\n", check.name, err)
		default:
			failed = true
			fmt.Printf("FAIL %s: %s\n", check.name, strings.Join(strings.Fields(err.Error()), " "))
		}
	}
	if failed {
		os.Exit(1)
	}
}
