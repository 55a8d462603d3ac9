// RabbitMQ's Go client, which leaves connecting again to the program: to any of three addresses, when NotifyClose tells.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	pause      = 100 * time.Millisecond
	confirmMax = 5 * time.Second
	window     = 50
)

var (
	urls     = strings.Fields(os.Getenv("AMQP_URLS"))
	queue    = os.Getenv("QUEUE")
	stopping atomic.Bool
	attempts atomic.Int64
)

// open connects to the next address and opens a channel.
func open() (*amqp.Connection, *amqp.Channel, error) {
	url := urls[int(attempts.Add(1))%len(urls)]
	connection, err := amqp.DialConfig(url, amqp.Config{Heartbeat: 4 * time.Second, Dial: amqp.DefaultDial(3 * time.Second)})
	if err != nil {
		return nil, nil, err
	}
	channel, err := connection.Channel()
	if err != nil {
		connection.Close()
		return nil, nil, err
	}
	return connection, channel, nil
}

// publish sends with many confirms open until the connection ends.
func publish(number *int, rate float64) error {
	connection, channel, err := open()
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := channel.Confirm(false); err != nil {
		return err
	}
	closed := connection.NotifyClose(make(chan *amqp.Error, 1))
	open := make(chan struct{}, window)
	ticker := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer ticker.Stop()
	for !stopping.Load() {
		select {
		case err := <-closed:
			return err
		case <-ticker.C:
		}
		*number++
		mine := *number
		ctx, cancel := context.WithTimeout(context.Background(), confirmMax)
		confirm, err := channel.PublishWithDeferredConfirmWithContext(ctx, "", queue, false, false,
			amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(strconv.Itoa(mine))})
		if err != nil {
			cancel()
			return err
		}
		select {
		case open <- struct{}{}:
		case <-time.After(confirmMax):
			cancel()
			return fmt.Errorf("no confirms")
		}
		go func() {
			defer cancel()
			if isAcked, err := confirm.WaitContext(ctx); err == nil && isAcked {
				fmt.Printf("confirmed %d\n", mine)
			}
			<-open
		}()
	}
	time.Sleep(confirmMax)
	return nil
}

func consume() error {
	connection, channel, err := open()
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := channel.Qos(50, 0, false); err != nil {
		return err
	}
	deliveries, err := channel.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	for delivery := range deliveries {
		fmt.Printf("received %s\n", delivery.Body)
		if err := delivery.Ack(false); err != nil {
			return err
		}
	}
	return fmt.Errorf("the deliveries have ended")
}

func main() {
	rate, err := strconv.ParseFloat(os.Getenv("RATE"), 64)
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			fmt.Fprintln(os.Stderr, "consumer:", consume())
			time.Sleep(pause)
		}
	}()
	go func() {
		number := 0
		for !stopping.Load() {
			fmt.Fprintln(os.Stderr, "publisher:", publish(&number, rate))
			time.Sleep(pause)
		}
	}()
	// A line: publish no more. The end: end.
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		stopping.Store(true)
	}
}
