// The form that publishes one message.

import { path, post } from "../lib/api.js";
import { argumentsField } from "./arguments.js";
import { form } from "./form.js";
import { exchangePart } from "./names.js";
import { toast } from "./notice.js";

const PROPERTIES = {
  content_type: "string", content_encoding: "string", priority: "number", correlation_id: "string", reply_to: "string", expiration: "string", message_id: "string",
  timestamp: "number", type: "string", user_id: "string", app_id: "string",
};

/** @param routingKey the fixed routing key of a queue; undefined asks for one */
export function publishForm(view, vhost, exchange, routingKey = undefined) {
  return form({
    pairs: true, keep: true, submit: "Publish",
    fields: [
      ...(routingKey === undefined ? [{ name: "routing_key", label: "Routing key", wide: true }] : []),
      { name: "payload", label: "Payload", kind: "area", wide: true },
      { name: "payload_encoding", label: "The payload is", kind: "select", options: [["string", "Text"], ["base64", "Base64"]] },
      { name: "delivery_mode", label: "Delivery mode", kind: "select", options: [["2", "Persistent"], ["1", "Transient"]] },
      { name: "headers", label: "Headers", kind: argumentsField() },
      { name: "properties", label: "Properties", kind: argumentsField(PROPERTIES) },
    ],
    onsubmit: ({ routing_key = routingKey, payload, payload_encoding, delivery_mode, headers, properties }) => view.act(null, async () => {
      const body = { routing_key, payload, payload_encoding, properties: { delivery_mode: Number(delivery_mode), headers, ...properties } };
      const { routed } = await post(path`/api/exchanges/${vhost}/${exchangePart(exchange)}/publish`, body);
      if (routed) toast("Published.");
      else toast("Not routed: no queue is bound for this message.", "warn");
    }),
  });
}
