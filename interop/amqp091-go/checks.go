// Checks of a broker through RabbitMQ's Go client: one function per name in the list for all clients and in the list
// beside this file.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

var checks = []struct {
	name string
	body func(*amqp.Connection) error
}{
	{"connect-auth-ok", connectAuthOK},
	{"connect-auth-refused", connectAuthRefused},
	{"connect-vhost-missing", connectVhostMissing},
	{"declare-passive", declarePassive},
	{"declare-server-named", declareServerNamed},
	{"declare-inequivalent", declareInequivalent},
	{"publish-confirm", publishConfirm},
	{"mandatory-return-before-confirm", mandatoryReturnBeforeConfirm},
	{"consume-ack", consumeAck},
	{"body-larger-than-frame", bodyLargerThanFrame},
	{"nack-requeue-redelivered", nackRequeueRedelivered},
	{"reject-dead-letter", rejectDeadLetter},
	{"get-and-get-empty", getAndGetEmpty},
	{"prefetch-bound", prefetchBound},
	{"consumer-cancel-notification", consumerCancelNotification},
	{"heartbeat-idle", heartbeatIdle},
	{"channel-error-connection-alive", channelErrorConnectionAlive},
	{"restart-durable", restartDurable},
	{"recover-without-requeue-refused", recoverWithoutRequeueRefused},
	{"queue-ttl-get", queueTTLGet},
	{"nack-multiple-requeue", nackMultipleRequeue},
	{"closes-in-good-order", closesInGoodOrder},
}

// publish sends one message through the default exchange.
func publish(channel *amqp.Channel, queue string, message amqp.Publishing) error {
	return channel.PublishWithContext(context.Background(), "", queue, false, false, message)
}

// publishAll sends messages with these bodies through the default exchange.
func publishAll(channel *amqp.Channel, queue string, bodies ...string) error {
	for _, body := range bodies {
		if err := publish(channel, queue, amqp.Publishing{Body: []byte(body)}); err != nil {
			return err
		}
	}
	return nil
}

// temporary declares an exclusive, server-named queue.
func temporary(channel *amqp.Channel) (string, error) {
	queue, err := channel.QueueDeclare("", false, false, true, false, nil)
	return queue.Name, err
}

// fresh opens a channel and declares an exclusive, server-named queue on it.
func fresh(connection *amqp.Connection) (*amqp.Channel, string, error) {
	channel, err := connection.Channel()
	if err != nil {
		return nil, "", err
	}
	queue, err := temporary(channel)
	return channel, queue, err
}

// durable opens a channel and declares a durable queue on it.
func durable(connection *amqp.Connection, suffix string) (*amqp.Channel, string, error) {
	channel, err := connection.Channel()
	if err != nil {
		return nil, "", err
	}
	queue, err := channel.QueueDeclare(name(suffix), true, false, false, false, nil)
	return channel, queue.Name, err
}

// remove deletes a queue at the end of a check; its error counts unless the check has failed already.
func remove(channel *amqp.Channel, queue string, err *error) {
	if _, deleting := channel.QueueDelete(queue, false, false, false); *err == nil {
		*err = deleting
	}
}

// take polls for one message until the deadline and leaves it unacked.
func take(channel *amqp.Channel, queue string) (message amqp.Delivery, err error) {
	err = eventually("a message in "+queue, func() (bool, error) {
		var found bool
		message, found, err = channel.Get(queue, false)
		return found, err
	})
	return message, err
}

// confirmed selects confirms and returns a function that publishes and waits for the confirm.
func confirmed(channel *amqp.Channel) (func(exchange, key string, message amqp.Publishing) error, error) {
	if err := channel.Confirm(false); err != nil {
		return nil, err
	}
	return func(exchange, key string, message amqp.Publishing) error {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		confirm, err := channel.PublishWithDeferredConfirmWithContext(ctx, exchange, key, false, false, message)
		if err != nil {
			return err
		}
		acked, err := confirm.WaitContext(ctx)
		if err == nil && !acked {
			err = errors.New("the broker refused the message")
		}
		return err
	}, nil
}

// wantDrained takes everything out of the queue and compares it with numbered bodies and a last one.
func wantDrained(channel *amqp.Channel, queue string, extra ...string) error {
	for i := 0; i < messages+len(extra); i++ {
		want := strconv.Itoa(i)
		if i >= messages {
			want = extra[i-messages]
		}
		message, found, err := channel.Get(queue, true)
		if err != nil {
			return err
		}
		if !found || string(message.Body) != want {
			return fmt.Errorf("message %d: found %v, got %q, want %q", i, found, message.Body, want)
		}
	}
	_, found, err := channel.Get(queue, true)
	if err == nil && found {
		err = errors.New("more messages than were published")
	}
	return err
}

func wantCount(channel *amqp.Channel, queue string, want int) error {
	state, err := channel.QueueDeclarePassive(queue, false, false, false, false, nil)
	if err != nil {
		return err
	}
	return wantEqual("messages in "+queue, state.Messages, want)
}

func connectAuthOK(connection *amqp.Connection) error {
	capabilities, _ := connection.Properties["capabilities"].(amqp.Table)
	return wantEqual("publisher_confirms", capabilities["publisher_confirms"], true)
}

func connectAuthRefused(*amqp.Connection) error {
	_, err := amqp.Dial(urlWith("wrong", ""))
	return wantClose(403, "username or password not allowed", err)
}

func connectVhostMissing(*amqp.Connection) error {
	_, err := amqp.Dial(urlWith("", "interop-none"))
	return wantClose(530, "NOT_ALLOWED - vhost interop-none not found", err)
}

func declarePassive(connection *amqp.Connection) error {
	channel, queue, err := fresh(connection)
	if err != nil {
		return err
	}
	if err := publish(channel, queue, amqp.Publishing{Body: []byte("one")}); err != nil {
		return err
	}
	err = eventually("message count 1", func() (bool, error) {
		state, err := channel.QueueDeclarePassive(queue, false, false, true, false, nil)
		return state.Messages == 1, err
	})
	if err != nil {
		return err
	}
	absent := name("absent")
	_, err = channel.QueueDeclarePassive(absent, false, false, false, false, nil)
	if err := wantClose(404, "NOT_FOUND - no queue '"+absent+"' in vhost '/'", err); err != nil {
		return err
	}
	if channel, err = connection.Channel(); err != nil {
		return err
	}
	err = channel.ExchangeDeclarePassive(absent, "direct", false, false, false, false, nil)
	return wantClose(404, "NOT_FOUND - no exchange '"+absent+"' in vhost '/'", err)
}

func declareServerNamed(connection *amqp.Connection) error {
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	first, err := temporary(channel)
	if err != nil {
		return err
	}
	second, err := temporary(channel)
	if err != nil {
		return err
	}
	if len(first) < 9 || first[:8] != "amq.gen-" || first == second {
		return fmt.Errorf("names %q and %q", first, second)
	}
	if err := publish(channel, second, amqp.Publishing{Body: []byte("here")}); err != nil {
		return err
	}
	// The empty name stands for the queue declared last on this channel.
	message, err := take(channel, "")
	if err != nil {
		return err
	}
	return wantEqual("body", string(message.Body), "here")
}

func declareInequivalent(connection *amqp.Connection) (err error) {
	keeper, queue, err := durable(connection, "inequivalent")
	if err != nil {
		return err
	}
	defer remove(keeper, queue, &err)
	other, err := connection.Channel()
	if err != nil {
		return err
	}
	_, err = other.QueueDeclare(queue, false, false, false, false, nil)
	return wantClose(406, "PRECONDITION_FAILED - inequivalent arg 'durable' for queue '"+queue+
		"' in vhost '/': received 'false' but current is 'true'", err)
}

func publishConfirm(connection *amqp.Connection) (err error) {
	channel, queue, err := durable(connection, "confirm")
	if err != nil {
		return err
	}
	defer remove(channel, queue, &err)
	if err := channel.Confirm(false); err != nil {
		return err
	}
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation, messages))
	for i := 0; i < messages; i++ {
		message := amqp.Publishing{Body: []byte(strconv.Itoa(i)), DeliveryMode: amqp.Persistent}
		if err := publish(channel, queue, message); err != nil {
			return err
		}
	}
	for tag := uint64(1); tag <= messages; tag++ {
		select {
		case confirm := <-confirms:
			if !confirm.Ack || confirm.DeliveryTag != tag {
				return fmt.Errorf("confirm %d came as %+v", tag, confirm)
			}
		case <-time.After(deadline):
			return fmt.Errorf("confirm %d never came", tag)
		}
	}
	if err := wantCount(channel, queue, messages); err != nil {
		return err
	}
	return wantDrained(channel, queue)
}

func mandatoryReturnBeforeConfirm(connection *amqp.Connection) error {
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	if err := channel.Confirm(false); err != nil {
		return err
	}
	returns := channel.NotifyReturn(make(chan amqp.Return, 1))
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation, 1))
	message := amqp.Publishing{Body: []byte("lost")}
	err = channel.PublishWithContext(context.Background(), "", name("nowhere"), true, false, message)
	if err != nil {
		return err
	}
	select {
	case confirm := <-confirms:
		if !confirm.Ack {
			return errors.New("refused instead of confirmed")
		}
	case <-time.After(deadline):
		return errors.New("no confirm")
	}
	// The client passes on both from one reader in the order of arrival, so the return must have come.
	select {
	case returned := <-returns:
		if returned.ReplyCode != 312 || returned.ReplyText != "NO_ROUTE" || string(returned.Body) != "lost" {
			return fmt.Errorf("returned %+v", returned)
		}
		return nil
	default:
		return errors.New("the confirm came before the return")
	}
}

func consumeAck(connection *amqp.Connection) error {
	channel, queue, err := fresh(connection)
	if err != nil {
		return err
	}
	headers := amqp.Table{"int": int32(7), "long": int64(1) << 40, "text": "x", "float": 1.5, "none": nil,
		"list": []any{int32(1), "a"}, "table": amqp.Table{"k": true}, "time": time.Unix(1700000000, 0)}
	for i := 0; i < messages; i++ {
		message := amqp.Publishing{Body: []byte(strconv.Itoa(i)), Headers: headers, MessageId: "m1", Priority: 3}
		if err := publish(channel, queue, message); err != nil {
			return err
		}
	}
	deliveries, err := channel.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	for i := 0; i < messages; i++ {
		select {
		case delivery := <-deliveries:
			if string(delivery.Body) != strconv.Itoa(i) || delivery.Redelivered ||
				delivery.MessageId != "m1" || delivery.Priority != 3 {
				return fmt.Errorf("delivery %d came as %+v", i, delivery)
			}
			if err := wantEqual("headers", fmt.Sprint(delivery.Headers), fmt.Sprint(headers)); err != nil {
				return err
			}
			if err := delivery.Ack(false); err != nil {
				return err
			}
		case <-time.After(deadline):
			return fmt.Errorf("delivery %d never came", i)
		}
	}
	if err := channel.Close(); err != nil {
		return err
	}
	if channel, err = connection.Channel(); err != nil {
		return err
	}
	return wantCount(channel, queue, 0)
}

func bodyLargerThanFrame(connection *amqp.Connection) error {
	channel, queue, err := fresh(connection)
	if err != nil {
		return err
	}
	send, err := confirmed(channel)
	if err != nil {
		return err
	}
	for _, size := range []int{0, 1, 131064, 131065, 1_000_003} {
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(i % 251)
		}
		if err := send("", queue, amqp.Publishing{Body: body}); err != nil {
			return err
		}
		message, found, err := channel.Get(queue, true)
		if err != nil {
			return err
		}
		if !found || !bytes.Equal(message.Body, body) {
			return fmt.Errorf("a body of %d bytes came back different", size)
		}
	}
	return nil
}

func nackRequeueRedelivered(connection *amqp.Connection) error {
	channel, queue, err := fresh(connection)
	if err != nil {
		return err
	}
	if err := publishAll(channel, queue, "a", "b"); err != nil {
		return err
	}
	for _, redelivered := range []bool{false, true} {
		message, err := take(channel, queue)
		if err != nil {
			return err
		}
		if string(message.Body) != "a" || message.Redelivered != redelivered {
			return fmt.Errorf("got %q redelivered %v", message.Body, message.Redelivered)
		}
		if err := message.Nack(false, true); err != nil {
			return err
		}
	}
	return nil
}

func rejectDeadLetter(connection *amqp.Connection) error {
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	exchange, source := name("dlx"), name("dl-source")
	if err := channel.ExchangeDeclare(exchange, "fanout", false, true, false, false, nil); err != nil {
		return err
	}
	target, err := temporary(channel)
	if err != nil {
		return err
	}
	if err := channel.QueueBind(target, "", exchange, false, nil); err != nil {
		return err
	}
	arguments := amqp.Table{"x-dead-letter-exchange": exchange}
	if _, err := channel.QueueDeclare(source, false, false, true, false, arguments); err != nil {
		return err
	}
	poison := amqp.Publishing{Body: []byte("poison"), Headers: amqp.Table{"mine": int32(1)}}
	if err := publish(channel, source, poison); err != nil {
		return err
	}
	message, err := take(channel, source)
	if err != nil {
		return err
	}
	if err := message.Reject(false); err != nil {
		return err
	}
	dead, err := take(channel, target)
	if err != nil {
		return err
	}
	deaths, _ := dead.Headers["x-death"].([]any)
	if string(dead.Body) != "poison" || dead.Exchange != exchange || dead.RoutingKey != source || len(deaths) != 1 {
		return fmt.Errorf("dead letter %+v", dead)
	}
	death, _ := deaths[0].(amqp.Table)
	if death["reason"] != "rejected" || death["queue"] != source || death["count"] != int64(1) {
		return fmt.Errorf("x-death %#v", death)
	}
	return wantEqual("own header", dead.Headers["mine"], int32(1))
}

func getAndGetEmpty(connection *amqp.Connection) error {
	channel, queue, err := fresh(connection)
	if err != nil {
		return err
	}
	send, err := confirmed(channel)
	if err != nil {
		return err
	}
	if _, found, err := channel.Get(queue, false); err != nil || found {
		return fmt.Errorf("an empty queue gave a message (%v, %v)", found, err)
	}
	for _, body := range []string{"1", "2"} {
		if err := send("", queue, amqp.Publishing{Body: []byte(body)}); err != nil {
			return err
		}
	}
	first, found, err := channel.Get(queue, false)
	if err != nil || !found || string(first.Body) != "1" || first.MessageCount != 1 {
		return fmt.Errorf("first get %+v (%v, %v)", first, found, err)
	}
	if _, found, err = channel.Get(queue, true); err != nil || !found {
		return fmt.Errorf("second get (%v, %v)", found, err)
	}
	if _, found, err = channel.Get(queue, true); err != nil || found {
		return fmt.Errorf("third get (%v, %v)", found, err)
	}
	return nil
}

// receive takes `count` deliveries and asserts that no other follows.
func receive(deliveries <-chan amqp.Delivery, count int) (taken []amqp.Delivery, err error) {
	for len(taken) < count {
		select {
		case delivery := <-deliveries:
			taken = append(taken, delivery)
		case <-time.After(deadline):
			return taken, fmt.Errorf("%d of %d deliveries came", len(taken), count)
		}
	}
	select {
	case <-deliveries:
		return taken, fmt.Errorf("more than %d deliveries came", count)
	case <-time.After(quiet):
		return taken, nil
	}
}

func prefetchBound(connection *amqp.Connection) error {
	channel, queue, err := fresh(connection)
	if err != nil {
		return err
	}
	for i := 0; i < 20; i++ {
		if err := publish(channel, queue, amqp.Publishing{Body: []byte(strconv.Itoa(i))}); err != nil {
			return err
		}
	}
	if err := channel.Qos(5, 0, false); err != nil {
		return err
	}
	deliveries, err := channel.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	taken, err := receive(deliveries, 5)
	if err != nil {
		return err
	}
	if err := taken[1].Ack(true); err != nil {
		return err
	}
	_, err = receive(deliveries, 2)
	return err
}

func consumerCancelNotification(connection *amqp.Connection) error {
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	queue := name("cancelled")
	if _, err := channel.QueueDeclare(queue, false, false, false, false, nil); err != nil {
		return err
	}
	cancels := channel.NotifyCancel(make(chan string, 1))
	if _, err := channel.Consume(queue, "mine", false, false, false, false, nil); err != nil {
		return err
	}
	other, err := connection.Channel()
	if err != nil {
		return err
	}
	if _, err := other.QueueDelete(queue, false, false, false); err != nil {
		return err
	}
	select {
	case tag := <-cancels:
		if err := wantEqual("cancelled consumer", tag, "mine"); err != nil {
			return err
		}
	case <-time.After(deadline):
		return errors.New("no cancel came")
	}
	_, err = temporary(channel)
	return err
}

func heartbeatIdle(*amqp.Connection) error {
	connection, err := amqp.DialConfig(brokerURL, amqp.Config{Heartbeat: time.Second})
	if err != nil {
		return err
	}
	closed := connection.NotifyClose(make(chan *amqp.Error, 1))
	channel, queue, err := fresh(connection)
	if err != nil {
		return err
	}
	select {
	case reason := <-closed:
		return fmt.Errorf("closed while idle: %v", reason)
	case <-time.After(6 * time.Second):
	}
	if err := wantCount(channel, queue, 0); err != nil {
		return err
	}
	return connection.Close()
}

func channelErrorConnectionAlive(connection *amqp.Connection) error {
	bystander, err := connection.Channel()
	if err != nil {
		return err
	}
	queue, err := temporary(bystander)
	if err != nil {
		return err
	}
	failing, err := connection.Channel()
	if err != nil {
		return err
	}
	closed := failing.NotifyClose(make(chan *amqp.Error, 1))
	if err := failing.Ack(99, false); err != nil {
		return err
	}
	select {
	case reason := <-closed:
		if err := wantClose(406, "PRECONDITION_FAILED - unknown delivery tag 99", reason); err != nil {
			return err
		}
	case <-time.After(deadline):
		return errors.New("an unknown delivery tag closed nothing")
	}
	if err := wantCount(bystander, queue, 0); err != nil {
		return err
	}
	again, err := connection.Channel()
	if err != nil {
		return err
	}
	return again.Close()
}

func restartDurable(idle *amqp.Connection) error {
	if os.Getenv("INTEROP_RESTART") == "" {
		return errSkip
	}
	if err := idle.Close(); err != nil {
		return err
	}
	exchange, queue := name("restart-x"), name("restart")
	if err := fillBeforeRestart(exchange, queue); err != nil {
		return err
	}
	if err := restartBroker(); err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	connection, err := amqp.Dial(brokerURL)
	if err != nil {
		return err
	}
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	send, err := confirmed(channel)
	if err != nil {
		return err
	}
	// The exchange and its binding must be there, too.
	if err := send(exchange, "key", amqp.Publishing{Body: []byte("after"), DeliveryMode: amqp.Persistent}); err != nil {
		return err
	}
	if err := wantCount(channel, queue, messages+1); err != nil {
		return err
	}
	if err := wantDrained(channel, queue, "after"); err != nil {
		return err
	}
	if _, err := channel.QueueDelete(queue, false, false, false); err != nil {
		return err
	}
	if err := channel.ExchangeDelete(exchange, false, false); err != nil {
		return err
	}
	return connection.Close()
}

// fillBeforeRestart leaves confirmed persistent messages in a durable queue, ten of them unacked. Its connection stays
// open until the broker is killed.
func fillBeforeRestart(exchange, queue string) error {
	connection, err := amqp.Dial(brokerURL)
	if err != nil {
		return err
	}
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	if err := channel.ExchangeDeclare(exchange, "direct", true, false, false, false, nil); err != nil {
		return err
	}
	if _, err := channel.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		return err
	}
	if err := channel.QueueBind(queue, "key", exchange, false, nil); err != nil {
		return err
	}
	send, err := confirmed(channel)
	if err != nil {
		return err
	}
	for i := 0; i < messages; i++ {
		message := amqp.Publishing{Body: []byte(strconv.Itoa(i)), DeliveryMode: amqp.Persistent}
		if err := send(exchange, "key", message); err != nil {
			return err
		}
	}
	for i := 0; i < 10; i++ {
		if _, err := take(channel, queue); err != nil {
			return err
		}
	}
	return nil
}

// recoverWithoutRequeueRefused sends basic.recover without requeue, which the broker refuses by closing the connection.
func recoverWithoutRequeueRefused(connection *amqp.Connection) error {
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	closed := connection.NotifyClose(make(chan *amqp.Error, 1))
	if err := wantClose(540, "NOT_IMPLEMENTED", channel.Recover(false)); err != nil {
		return err
	}
	select {
	case reason := <-closed:
		return wantClose(540, "NOT_IMPLEMENTED", reason)
	case <-time.After(deadline):
		return errors.New("the connection was not closed")
	}
}

// queueTTLGet checks that a message expires in a queue with a TTL and stays in a queue without.
func queueTTLGet(connection *amqp.Connection) error {
	const ttl = 100 * time.Millisecond
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	lasting, err := temporary(channel)
	if err != nil {
		return err
	}
	arguments := amqp.Table{"x-message-ttl": int32(ttl.Milliseconds())}
	expiring, err := channel.QueueDeclare("", false, false, true, false, arguments)
	if err != nil {
		return err
	}
	send, err := confirmed(channel)
	if err != nil {
		return err
	}
	for _, queue := range []string{expiring.Name, lasting} {
		if err := send("", queue, amqp.Publishing{Body: []byte("ttl")}); err != nil {
			return err
		}
	}
	// No polling: a get before the message expires would take it.
	time.Sleep(2 * ttl)
	if message, found, err := channel.Get(expiring.Name, false); err != nil || found {
		return fmt.Errorf("after its time: found %v, %q (%v)", found, message.Body, err)
	}
	if _, found, err := channel.Get(lasting, true); err != nil || !found {
		return fmt.Errorf("without a time to live: found %v (%v)", found, err)
	}
	return nil
}

// nackMultipleRequeue requeues two messages with one nack and expects both again, in order.
func nackMultipleRequeue(connection *amqp.Connection) error {
	channel, queue, err := fresh(connection)
	if err != nil {
		return err
	}
	if err := publishAll(channel, queue, "1", "2"); err != nil {
		return err
	}
	for _, redelivered := range []bool{false, true} {
		var last amqp.Delivery
		for _, body := range []string{"1", "2"} {
			if last, err = take(channel, queue); err != nil {
				return err
			}
			if string(last.Body) != body || last.Redelivered != redelivered {
				return fmt.Errorf("got %q redelivered %v, want %q %v", last.Body, last.Redelivered, body, redelivered)
			}
		}
		if err := last.Nack(true, true); err != nil {
			return err
		}
	}
	return nil
}

// closesInGoodOrder closes fifty connections: each must end in time and without an error. If a broker closes the socket
// together with close-ok, the client's reader and closer race.
func closesInGoodOrder(*amqp.Connection) error {
	for number := 0; number < 50; number++ {
		connection, err := amqp.Dial(brokerURL)
		if err != nil {
			return err
		}
		failures := connection.NotifyClose(make(chan *amqp.Error, 1))
		if _, err := connection.Channel(); err != nil {
			return err
		}
		closed := make(chan error, 1)
		go func() { closed <- connection.Close() }()
		select {
		case err := <-closed:
			if err != nil {
				return fmt.Errorf("close %d: %w", number, err)
			}
		case <-time.After(deadline):
			return fmt.Errorf("close %d: still under way after %s", number, deadline)
		}
		select {
		case failure := <-failures:
			if failure != nil {
				return fmt.Errorf("close %d: got an error: %w", number, failure)
			}
		case <-time.After(deadline):
			return fmt.Errorf("close %d: NotifyClose reports no end", number)
		}
	}
	return nil
}
