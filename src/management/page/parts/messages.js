// Getting messages from a queue, and how they look.

import { path, post } from "../lib/api.js";
import { el, show } from "../lib/dom.js";
import { bytes, count, exchangeName, plain } from "../lib/format.js";
import { argumentList } from "./arguments.js";
import { form } from "./form.js";
import { facts, tag } from "./page.js";

const COUNT_MAX = 100;
const PAYLOAD_BYTES_MAX = 50_000;

const MODES = [
  ["ack_requeue_true", "Return them to the queue"],
  ["ack_requeue_false", "Take them out of the queue"],
  ["reject_requeue_true", "Reject them, return them to the queue"],
  ["reject_requeue_false", "Reject them, to the dead letter exchange if there is one"],
];

export function getForm(view, vhost, queue) {
  const results = el("div", { role: "status" });
  const entry = form({
    pairs: true, keep: true, submit: "Get messages",
    fields: [
      { name: "ackmode", label: "Afterwards", kind: "select", options: MODES },
      { name: "count", label: "Messages", kind: "number", value: 1, min: 1, max: COUNT_MAX, required: true },
      { name: "encoding", label: "Show payloads as", kind: "select", options: [["auto", "Text where possible"], ["base64", "Base64"]] },
    ],
    onsubmit: (values) => view.act(null, async () => {
      const messages = await post(path`/api/queues/${vhost}/${queue}/get`, { ...values, truncate: PAYLOAD_BYTES_MAX });
      show(results, messages.length === 0 ? el("p", { class: "muted" }, "The queue has no ready message.") : messages.map(message));
    }),
  });
  return [entry, results];
}

function message(one, index) {
  const { headers, ...properties } = one.properties ?? {};
  const cut = one.payload_bytes > PAYLOAD_BYTES_MAX;
  return el("article", { class: "message", "aria-label": `Message ${index + 1}` },
    el("header", {}, el("b", {}, `Message ${index + 1}`), el("span", {}, bytes(one.payload_bytes)), el("span", {}, `${count(one.message_count)} left`), one.redelivered && tag("redelivered", "warn"), one.payload_encoding === "base64" && tag("base64")),
    facts([
      ["Exchange", exchangeName(one.exchange)],
      ["Routing key", one.routing_key],
      ...Object.entries(properties).map(([name, value]) => [name, plain(value)]),
      ["headers", headers && Object.keys(headers).length > 0 ? argumentList(headers) : undefined],
    ]),
    el("pre", { tabindex: 0, "aria-label": "Payload" }, one.payload),
    cut && el("header", {}, `Only the first ${bytes(PAYLOAD_BYTES_MAX)} are shown.`));
}
