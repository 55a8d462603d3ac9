// Actions that the SDK lacks, signed by this code: creating and deleting queues, topics and subscriptions.
package main

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"
)

const controlPath = "/v2/index.php"

// control sends an action that must succeed.
func control(action string, parameters map[string]string) {
	values := url.Values{}
	for name, value := range parameters {
		values.Set(name, value)
	}
	values.Set("Action", action)
	values.Set("Nonce", strconv.Itoa(1+rand.Intn(1<<30)))
	values.Set("SecretId", os.Getenv("CMQ_SECRET_ID"))
	values.Set("Timestamp", strconv.FormatInt(time.Now().Unix(), 10))
	values.Set("SignatureMethod", "HmacSHA1")
	base := os.Getenv("CMQ_URL")
	values.Set("Signature", sign(strings.TrimPrefix(base, "http://"), values))

	answer, err := http.PostForm(base+controlPath, values)
	must(err)
	defer answer.Body.Close()
	var said struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	must(json.NewDecoder(answer.Body).Decode(&said))
	equal(action+" "+said.Message, said.Code, 0)
}

func sign(host string, values url.Values) string {
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	sort.Strings(names)
	pairs := make([]string, 0, len(names))
	for _, name := range names {
		pairs = append(pairs, fmt.Sprintf("%s=%s", strings.ReplaceAll(name, "_", "."), values.Get(name)))
	}
	mac := hmac.New(sha1.New, []byte(os.Getenv("CMQ_SECRET_KEY")))
	mac.Write([]byte("POST" + host + controlPath + "?" + strings.Join(pairs, "&")))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// withQueue runs body with a new queue, deleted afterwards.
func withQueue(suffix string, attributes map[string]string, body func(queue string)) {
	queue := name(suffix)
	parameters := map[string]string{"queueName": queue}
	for attribute, value := range attributes {
		parameters[attribute] = value
	}
	control("CreateQueue", parameters)
	defer control("DeleteQueue", map[string]string{"queueName": queue})
	body(queue)
}

// withTopic runs body with a new topic and a queue that is subscribed with the filter.
func withTopic(suffix string, filterType int, filter map[string]string, body func(topic, queue string)) {
	topic := name(suffix)
	control("CreateTopic", map[string]string{"topicName": topic, "filterType": strconv.Itoa(filterType)})
	defer control("DeleteTopic", map[string]string{"topicName": topic})
	withQueue(suffix, nil, func(queue string) {
		subscription := map[string]string{
			"topicName": topic, "subscriptionName": queue, "protocol": "queue", "endpoint": queue,
			"notifyContentFormat": "SIMPLIFIED",
		}
		for filterName, value := range filter {
			subscription[filterName] = value
		}
		control("Subscribe", subscription)
		defer control("Unsubscribe", map[string]string{"topicName": topic, "subscriptionName": queue})
		body(topic, queue)
	})
}
