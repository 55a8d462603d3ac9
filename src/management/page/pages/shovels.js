// Shovels: how they are, and their definitions.

import { path, put, remove } from "../lib/api.js";
import { el } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { may } from "../lib/session.js";
import { askFirst } from "../parts/dialog.js";
import { formDialog } from "../parts/form.js";
import { List } from "../parts/list.js";
import { exchangeLink, queueLink, scoped, vhostColumn, vhostField } from "../parts/names.js";
import { button, head, tag } from "../parts/page.js";
import { actions, numbers } from "../parts/table.js";

const key = ({ vhost, name }) => JSON.stringify([vhost, name]);
const name = { title: "Name", value: (row) => row.name, sort: "name", kind: "name" };

export async function shovels(view) {
  const lists = [];
  if (may("monitoring")) lists.push(["State", states(view)]);
  if (may("policymaker")) lists.push(["Definitions", definitions(view)]);
  view.show(head("Shovels"), el("div", { class: "grid" }, lists.map(([title, list]) =>
    el("section", { class: "panel", "aria-label": title }, el("header", {}, el("h2", {}, title)), list.element))));
  for (const [, list] of lists) await view.keep((signal) => list.load(signal));
}

function states(view) {
  return new List(view, {
    caption: "State of shovels", prefix: "states", url: scoped("shovels"), key, empty: "No shovel runs.", sort: "name",
    columns: [
      name, ...vhostColumn(),
      { title: "State", value: ({ state, reason }) => [state, reason], sort: "state", kind: "wrap", cell: state },
      { title: "Source", value: (row) => [row.src_uri, row.src_queue, row.src_exchange, row.src_exchange_key], kind: "wrap", cell: (row) => place(row.src_uri, row.src_queue, row.src_exchange, row.src_exchange_key) },
      { title: "Destination", value: (row) => [row.dest_uri, row.dest_queue, row.dest_exchange, row.dest_exchange_key], kind: "wrap", cell: (row) => place(row.dest_uri, row.dest_queue, row.dest_exchange, row.dest_exchange_key) },
      numbers("Forwarded", ({ forwarded }) => forwarded, count, { sort: "forwarded" }),
      numbers("Unconfirmed", ({ pending }) => pending, count, { sort: "pending", narrow: false }),
      { title: "Last changed", value: ({ timestamp }) => timestamp, sort: "timestamp", narrow: false },
      ...(may("policymaker") ? [actions((row) => button("Restart", () => restart(view, row)))] : []),
    ],
  });
}

function state({ state: now, reason }) {
  const kinds = { running: "good", blocked: "warn", terminated: "danger" };
  return el("div", {}, tag(now, kinds[now]), reason ? el("div", {}, el("small", {}, reason)) : null);
}

/** A URI, and what is there. Only this broker's own queues and exchanges have a page. */
function place(uri, queue, exchange, routingKey) {
  const host = ownVhost(uri);
  const linked = (text, link) => (host === null ? text : link(host, text));
  const what = [
    queue !== undefined && el("span", {}, tag("queue"), linked(queue, queueLink)),
    exchange !== undefined && el("span", {}, tag("exchange"), linked(exchange, exchangeLink)),
    routingKey && el("span", {}, tag("key"), routingKey),
  ].filter(Boolean);
  return el("div", {}, el("div", {}, el("code", {}, uri ?? "–")), what);
}

/** The virtual host of a URI without a host; null for other brokers. */
function ownVhost(uri) {
  const found = /^amqps?:\/\/(\/[^?]*)?(\?|$)/.exec(uri ?? "");
  if (found === null) return null;
  return found[1] === undefined ? "/" : decodeURIComponent(found[1].slice(1));
}

function definitions(view) {
  return new List(view, {
    caption: "Definitions of shovels", prefix: "definitions", url: scoped("parameters/shovel"), key, empty: "There is no shovel.", sort: "name", tools: button("Add a shovel", () => add(view), "primary"),
    columns: [
      name, ...vhostColumn(),
      { title: "Source", value: ({ value }) => value, kind: "wrap", cell: ({ value }) => defined(value, "src") },
      { title: "Destination", value: ({ value }) => value, kind: "wrap", cell: ({ value }) => defined(value, "dest") },
      { title: "Ack mode", value: ({ value }) => value["ack-mode"] ?? "on-confirm", sort: "value.ack-mode" },
      { title: "Deleted", value: ({ value }) => value["src-delete-after"] ?? value["delete-after"] ?? "never", cell: ({ value }) => deleted(value["src-delete-after"] ?? value["delete-after"] ?? "never"), narrow: false },
      numbers("Prefetch", ({ value }) => value["src-prefetch-count"] ?? value["prefetch-count"] ?? 1000, count, { narrow: false }),
      actions((row) => button("Delete", () => deleteIt(view, row), "danger")),
    ],
  });
}

function defined(value, end) {
  const [uri, ...more] = [value[`${end}-uri`]].flat().map(withoutSecrets);
  const shown = place(uri, value[`${end}-queue`], value[`${end}-exchange`], value[`${end}-exchange-key`]);
  return more.length > 0 ? el("div", {}, shown, el("small", {}, `or ${more.join(", ")}`)) : shown;
}

/** Without login and parameters, which may have passwords and paths of keys. */
const withoutSecrets = (uri) => String(uri).replace(/^(\w+:\/\/)[^/?]*@/, "$1").replace(/\?.*$/, "");

const deleted = (after) => (after === "never" ? "never" : after === "queue-length" ? "after what was there" : `after ${count(after)} messages`);

function restart(view, { vhost, name: shovel }) {
  return view.act(`Restarted: shovel ${shovel}.`, () => remove(path`/api/shovels/vhost/${vhost}/${shovel}/restart`));
}

function deleteIt(view, { vhost, name: shovel }) {
  askFirst("Delete the shovel", `"${shovel}" will move no more messages. Those on their way stay at the source or are at the destination.`, "Delete", () =>
    view.act(`Deleted: shovel ${shovel}.`, () => remove(path`/api/shovels/vhost/${vhost}/${shovel}`)));
}

function add(view) {
  const kinds = [["queue", "Queue"], ["exchange", "Exchange"]];
  formDialog("Add a shovel", {
    submit: "Add the shovel", pairs: true,
    fields: [
      { name: "name", label: "Name", required: true }, vhostField(),
      { name: "src-uri", label: "Source: URI", required: true, value: "amqp://", wide: true, hint: "A URI without a host leads to this broker: amqp:// or amqp:///vhost." },
      { name: "src-kind", label: "Source: kind", kind: "select", options: kinds }, { name: "src-name", label: "Source: name", required: true },
      { name: "src-exchange-key", label: "Source: routing key", hint: "Of the binding to an exchange." },
      { name: "src-prefetch-count", label: "Prefetch count", kind: "number", min: 1, max: 65535, placeholder: "1000" },
      { name: "dest-uri", label: "Destination: URI", required: true, placeholder: "amqps://user:password@host/%2f", wide: true },
      { name: "dest-kind", label: "Destination: kind", kind: "select", options: kinds }, { name: "dest-name", label: "Destination: name", hint: "Empty: messages keep their exchange." },
      { name: "dest-exchange-key", label: "Destination: routing key", hint: "At an exchange. Empty: messages keep theirs." },
      { name: "ack-mode", label: "Ack mode", kind: "select", options: ["on-confirm", "on-publish", "no-ack"].map((mode) => [mode, mode]), hint: "on-confirm loses nothing." },
      { name: "src-delete-after", label: "Delete the shovel", kind: "select", options: [["never", "Never"], ["queue-length", "After the messages that are there now"]] },
      { name: "reconnect-delay", label: "Reconnect delay (seconds)", kind: "number", min: 0, placeholder: "5" },
      { name: "dest-add-forward-headers", label: "Add headers that tell the way", kind: "check" },
    ],
    onsubmit: ({ name: shovel, vhost, ...values }) => view.act(`Added: shovel ${shovel}.`, () => put(path`/api/parameters/shovel/${vhost}/${shovel}`, { value: definition(values) })),
  });
}

/** The parameter's value for what the form says: a key that was left empty is left out. */
function definition({ "src-kind": from, "src-name": source, "dest-kind": to, "dest-name": target, ...rest }) {
  const ends = { [`src-${from}`]: source, [`dest-${to}`]: target };
  return Object.fromEntries(Object.entries({ ...ends, ...rest }).filter(([, value]) => value !== undefined && value !== "" && value !== false));
}
