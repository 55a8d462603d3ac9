// The list of exchanges, and the form for a new one.

import { path, put } from "../lib/api.js";
import { count, exchangeName, rate } from "../lib/format.js";
import { el } from "../lib/dom.js";
import { argumentsField } from "../parts/arguments.js";
import { formDialog } from "../parts/form.js";
import { List } from "../parts/list.js";
import { exchangeLink, exchangeTypes, scoped, vhostColumn, vhostField } from "../parts/names.js";
import { button, head, tag } from "../parts/page.js";
import { numbers } from "../parts/table.js";

/** What the editor suggests. */
const ARGUMENTS = { "alternate-exchange": "string", "x-delayed-type": "string", "hash-header": "string", "hash-property": "string" };

export async function exchanges(view) {
  const list = new List(view, {
    caption: "Exchanges", url: scoped("exchanges"), key: ({ vhost, name }) => JSON.stringify([vhost, name]), empty: "No exchange has such a name.", sort: "name",
    fields: ["name", "vhost", "type", "durable", "auto_delete", "internal", "arguments", "policy", "message_stats"],
    tools: button("Add an exchange", () => add(view), "primary"),
    columns: [
      { title: "Name", value: ({ name, vhost }) => [vhost, name], sort: "name", kind: "name", cell: ({ vhost, name }) => exchangeLink(vhost, name) },
      ...vhostColumn(),
      { title: "Type", value: ({ type }) => type, sort: "type" },
      { title: "Features", value: (row) => [row.durable, row.auto_delete, row.internal, row.arguments, row.policy], kind: "wrap", cell: features },
      numbers("In", (row) => row.message_stats?.publish_in_details?.rate ?? 0, rate, { sort: "message_stats.publish_in_details.rate" }),
      numbers("Out", (row) => row.message_stats?.publish_out_details?.rate ?? 0, rate, { sort: "message_stats.publish_out_details.rate" }),
      numbers("Received", (row) => row.message_stats?.publish_in ?? 0, count, { sort: "message_stats.publish_in", narrow: false }),
    ],
  });
  view.show(head("Exchanges"), el("div", { class: "panel" }, list.element));
  await view.keep((signal) => list.load(signal));
}

/** Marks of an exchange. */
export function features({ durable, auto_delete: autoDelete, internal, arguments: table = {}, policy }) {
  return el("span", {}, durable && tag("durable"), autoDelete && tag("auto-delete"), internal && tag("internal"),
    Object.keys(table).map((name) => tag(name, "", JSON.stringify(table[name]))), policy && tag(policy, "accent", "Policy"));
}

function add(view) {
  formDialog("Add an exchange", {
    pairs: true, submit: "Add the exchange",
    fields: [
      { name: "name", label: "Name", required: true },
      vhostField(),
      { name: "type", label: "Type", kind: "select", options: exchangeTypes().map((type) => [type, type]) },
      { name: "durable", label: "Durable: a restart finds it", kind: "check", value: true },
      { name: "auto_delete", label: "Deleted with its last binding", kind: "check" },
      { name: "internal", label: "Internal: clients cannot publish to it", kind: "check" },
      { name: "arguments", label: "Arguments", kind: argumentsField(ARGUMENTS) },
    ],
    onsubmit: ({ name, vhost, ...rest }) => view.act(`Exchange ${exchangeName(name)} is there.`, () => put(path`/api/exchanges/${vhost}/${name}`, rest)),
  });
}
