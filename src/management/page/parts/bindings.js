// Bindings of an exchange or a queue: table, removal, and the form for a new one.

import { path, post, remove } from "../lib/api.js";
import { el } from "../lib/dom.js";
import { argumentList, argumentsField } from "./arguments.js";
import { askFirst } from "./dialog.js";
import { form } from "./form.js";
import { exchangeLink, exchangePart, queueLink } from "./names.js";
import { button } from "./page.js";
import { actions, Table } from "./table.js";

/** @param end which end of the bindings the table names: `source` or `destination` */
export function bindingTable(view, end) {
  return new Table({
    caption: end === "source" ? "Bindings to it" : "Bindings from it", empty: "There are no bindings.",
    key: (row) => JSON.stringify([row.source, row.destination_type, row.destination, row.properties_key]),
    columns: [
      end === "source"
        ? { title: "From exchange", value: ({ source }) => source, kind: "name", cell: ({ vhost, source }) => exchangeLink(vhost, source) }
        : { title: "To", value: (row) => [row.destination_type, row.destination], kind: "name", cell: destination },
      { title: "Routing key", value: ({ routing_key: key }) => key, kind: "name", cell: ({ routing_key: key }) => el("code", {}, key) },
      { title: "Arguments", value: (row) => row.arguments, kind: "wrap", cell: (row) => argumentList(row.arguments) },
      actions((row) => (row.source === "" ? "" : button("Unbind", () => unbind(view, row), "danger"))),
    ],
  });
}

function destination({ vhost, destination_type: type, destination: name }) {
  return el("span", {}, type === "queue" ? queueLink(vhost, name) : exchangeLink(vhost, name), type === "queue" ? null : el("small", {}, " exchange"));
}

const address = (row) => path`/api/bindings/${row.vhost}/e/${exchangePart(row.source)}/` + (row.destination_type === "queue" ? "q" : "e") + path`/${row.destination}`;

function unbind(view, row) {
  askFirst("Remove the binding", `Messages of exchange "${row.source}" with routing key "${row.routing_key}" will no longer reach "${row.destination}".`, "Unbind",
    () => view.act("The binding is removed.", () => remove(`${address(row)}/${encodeURIComponent(row.properties_key)}`)));
}

/** A form that binds this queue to an exchange. */
export function bindQueueForm(view, vhost, queue) {
  return form({
    pairs: true, submit: "Bind",
    fields: [{ name: "source", label: "From exchange", required: true }, ...WHAT()],
    onsubmit: ({ source, ...binding }) => bind(view, { vhost, source, destination_type: "queue", destination: queue }, binding),
  });
}

/** A form that binds this exchange to a queue or another exchange. */
export function bindExchangeForm(view, vhost, source) {
  return form({
    pairs: true, submit: "Bind",
    fields: [
      { name: "type", label: "To", kind: "select", options: [["queue", "Queue"], ["exchange", "Exchange"]] },
      { name: "destination", label: "Its name", required: true }, ...WHAT(),
    ],
    onsubmit: ({ type, destination: name, ...binding }) => bind(view, { vhost, source, destination_type: type, destination: name }, binding),
  });
}

const WHAT = () => [
  { name: "routing_key", label: "Routing key", wide: true },
  { name: "arguments", label: "Arguments", kind: argumentsField({ "x-match": "string" }) },
];

function bind(view, ends, binding) {
  return view.act("Bound.", () => post(address(ends), binding));
}
