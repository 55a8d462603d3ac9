// The list of queues and streams, and the form for a new one.

import { path, put } from "../lib/api.js";
import { count, rate } from "../lib/format.js";
import { el } from "../lib/dom.js";
import { argumentsField } from "../parts/arguments.js";
import { formDialog } from "../parts/form.js";
import { List } from "../parts/list.js";
import { queueLink, scoped, vhostColumn, vhostField } from "../parts/names.js";
import { button, head, tag } from "../parts/page.js";
import { numbers } from "../parts/table.js";
import { stateTag } from "./connections.js";

const TYPES = [["classic", "Classic"], ["quorum", "Quorum"], ["stream", "Stream"]];

/** What the editor suggests; the broker checks. */
const ARGUMENTS = {
  "x-message-ttl": "number", "x-expires": "number", "x-max-length": "number", "x-max-length-bytes": "number", "x-overflow": "string", "x-dead-letter-exchange": "string",
  "x-dead-letter-routing-key": "string", "x-dead-letter-strategy": "string", "x-delivery-limit": "number", "x-max-priority": "number", "x-single-active-consumer": "boolean",
  "x-consumer-timeout": "number", "x-delayed-retry-type": "string", "x-delayed-retry-min": "number", "x-delayed-retry-max": "number", "x-visibility-timeout": "number",
  "x-rewind-seconds": "number", "x-max-age": "string", "x-stream-max-segment-size-bytes": "number", "x-stream-filter-size-bytes": "number",
};

const rateColumn = (title, name, rest) => numbers(title, (row) => row.message_stats?.[`${name}_details`]?.rate ?? 0, rate, { sort: `message_stats.${name}_details.rate`, ...rest });

export async function queues(view) {
  const list = new List(view, {
    caption: "Queues", url: scoped("queues"), key: ({ vhost, name }) => JSON.stringify([vhost, name]), empty: "No queue has such a name.", sort: "name",
    fields: ["name", "vhost", "type", "durable", "auto_delete", "exclusive", "arguments", "policy", "operator_policy", "state", "messages_ready", "messages_unacknowledged", "messages", "consumers",
      "message_stats.publish_details.rate", "message_stats.deliver_get_details.rate", "message_stats.ack_details.rate"],
    tools: button("Add a queue", () => add(view), "primary"),
    columns: [
      { title: "Name", value: ({ vhost, name }) => [vhost, name], sort: "name", kind: "name", cell: ({ vhost, name }) => queueLink(vhost, name) },
      ...vhostColumn(),
      { title: "Type", value: ({ type }) => type, sort: "type" },
      { title: "Features", value: (row) => [row.durable, row.auto_delete, row.exclusive, row.arguments, row.policy, row.operator_policy], kind: "wrap", cell: features, narrow: false },
      { title: "State", value: ({ state }) => state, sort: "state", cell: ({ state }) => stateTag(state), narrow: false },
      numbers("Ready", (row) => row.messages_ready ?? 0, count, { sort: "messages_ready" }),
      numbers("Unacked", (row) => row.messages_unacknowledged ?? 0, count, { sort: "messages_unacknowledged" }),
      numbers("Total", (row) => row.messages ?? 0, count, { sort: "messages" }),
      rateColumn("In", "publish"), rateColumn("Out", "deliver_get"), rateColumn("Ack", "ack", { narrow: false }),
    ],
  });
  view.show(head("Queues"), el("div", { class: "panel" }, list.element));
  await view.keep((signal) => list.load(signal));
}

/** Marks of a queue. The type has a column of its own. */
export function features({ durable, auto_delete: autoDelete, exclusive, arguments: table = {}, policy, operator_policy: operator }) {
  return el("span", {}, !durable && tag("transient", "warn"), autoDelete && tag("auto-delete"), exclusive && tag("exclusive"),
    Object.keys(table).filter((name) => name !== "x-queue-type").map((name) => tag(name.replace(/^x-/, ""), "", `${name} = ${JSON.stringify(table[name])}`)),
    policy && tag(policy, "accent", "Policy"), operator && tag(operator, "accent", "Operator policy"));
}

function add(view) {
  formDialog("Add a queue", {
    pairs: true, submit: "Add the queue",
    fields: [
      { name: "name", label: "Name", required: true },
      vhostField(),
      { name: "type", label: "Type", kind: "select", options: TYPES, hint: "Quorum queues and streams are always durable." },
      { name: "durable", label: "Durable: a restart finds it", kind: "check", value: true },
      { name: "auto_delete", label: "Deleted with its last consumer", kind: "check" },
      { name: "arguments", label: "Arguments", kind: argumentsField(ARGUMENTS) },
    ],
    onsubmit: ({ name, vhost, type, arguments: table, ...rest }) => view.act(`Queue ${name} is there.`, () =>
      put(path`/api/queues/${vhost}/${name}`, { ...rest, arguments: { "x-queue-type": type, ...table } })),
  });
}
