// Connections: the list, and one with its channels.

import { get, path, remove } from "../lib/api.js";
import { byteRate, bytes, count, dateTime, plain } from "../lib/format.js";
import { el } from "../lib/dom.js";
import { Chart, chartPanel } from "../parts/chart.js";
import { formDialog } from "../parts/form.js";
import { List } from "../parts/list.js";
import { channelLink, connectionLink, scopedUnderVhost, vhostColumn } from "../parts/names.js";
import { button, facts, head, panel, Slot, tablePanel, tag } from "../parts/page.js";
import { rates, SAMPLES } from "../parts/samples.js";
import { numbers, Table } from "../parts/table.js";

export async function connections(view) {
  const list = new List(view, {
    caption: "Connections", url: scopedUnderVhost("connections"), key: ({ name }) => name, empty: "No client is connected.", sort: "name",
    fields: ["name", "user_provided_name", "vhost", "user", "state", "ssl", "protocol", "channels", "recv_oct_details.rate", "send_oct_details.rate", "connected_at"],
    columns: [
      { title: "Name", value: ({ name, user_provided_name }) => [name, user_provided_name], sort: "name", kind: "name", cell: connectionName },
      ...vhostColumn(),
      { title: "User", value: ({ user }) => user, sort: "user" },
      { title: "State", value: ({ state }) => state, sort: "state", cell: ({ state }) => stateTag(state) },
      { title: "Protocol", value: ({ protocol, ssl }) => [protocol, ssl], narrow: false, cell: ({ protocol, ssl }) => [protocol, ssl && " with TLS"].filter(Boolean).join("") },
      numbers("Channels", ({ channels }) => channels, count, { sort: "channels" }),
      numbers("From client", (row) => row.recv_oct_details?.rate ?? 0, byteRate, { sort: "recv_oct_details.rate" }),
      numbers("To client", (row) => row.send_oct_details?.rate ?? 0, byteRate, { sort: "send_oct_details.rate" }),
      { title: "Connected", value: ({ connected_at }) => connected_at, sort: "connected_at", narrow: false, cell: ({ connected_at }) => dateTime(connected_at) },
    ],
  });
  view.show(head("Connections"), el("div", { class: "panel" }, list.element));
  await view.keep((signal) => list.load(signal));
}

function connectionName({ name, user_provided_name: given }) {
  return el("div", {}, connectionLink(name), given ? el("div", {}, el("small", {}, given)) : null);
}

export const stateTag = (state = "–") => tag(state, state === "running" ? "good" : /block|flow|clos|down|crash|stop/.test(state) ? "warn" : "");

export async function connection(view) {
  const [name] = view.route.names;
  const url = path`/api/connections/${name}`;
  const about = new Slot();
  const properties = new Slot();
  const traffic = new Chart("Bytes", byteRate, 1024);
  const channels = new Table({ caption: "Channels", columns: CHANNELS, key: (row) => row.name, empty: "It has no channels." });
  view.show(head(name, { above: [["Connections", "connections"]], buttons: button("Close this connection", () => close(view, name), "danger") }),
    el("div", { class: "grid two" }, panel("Connection", about.element), panel("Client", properties.element), el("div", { class: "wide" }, chartPanel("Bytes", traffic)),
      el("div", { class: "wide" }, tablePanel("Channels", channels))));
  await view.keep(async (signal) => {
    const [one, list] = await Promise.all([get(url, { query: SAMPLES, signal }), get(`${url}/channels`, { signal })]);
    about.update(one, aboutConnection);
    properties.update(one.client_properties ?? {}, (table) => facts(Object.entries(table).map(([key, value]) => [key, capabilities(value)])));
    traffic.update([["recv_oct", "From client", 1], ["send_oct", "To client", 2]].map(([field, title, colour]) => ({
      title, colour, points: rates(one[`${field}_details`]), now: one[`${field}_details`]?.rate ?? 0,
    })));
    channels.update(list);
  });
}

function capabilities(value) {
  if (value === null || typeof value !== "object") return plain(value);
  return Object.entries(value).map(([name, on]) => tag(on === true ? name : `${name}: ${plain(on)}`));
}

function aboutConnection(one) {
  return facts([
    ["Name given by the client", one.user_provided_name],
    ["User", one.user],
    ["Virtual host", one.vhost],
    ["State", stateTag(one.state)],
    ["Protocol", [one.protocol, one.ssl ? ` with ${one.ssl_protocol ?? "TLS"}` : ""].join("")],
    ["Client", `${one.peer_host}:${one.peer_port}`],
    ["Connected", dateTime(one.connected_at)],
    ["Heartbeat", one.timeout === 0 ? "none" : `${one.timeout} s`],
    ["Largest frame", bytes(one.frame_max)],
    ["Channels", `${count(one.channels)} of ${one.channel_max === 0 ? "any number" : count(one.channel_max)}`],
    ["From the client", bytes(one.recv_oct)],
    ["To the client", bytes(one.send_oct)],
  ]);
}

const CHANNELS = [
  { title: "Channel", value: ({ number, name }) => [number, name], cell: ({ number, name }) => channelLink(name, String(number ?? name)) },
  { title: "State", value: ({ state }) => state, cell: ({ state }) => stateTag(state) },
  { title: "Mode", value: ({ confirm, transactional }) => (transactional ? "transactions" : confirm ? "confirms" : "–") },
  numbers("Consumers", ({ consumer_count }) => consumer_count, count),
  numbers("Prefetch", ({ prefetch_count }) => prefetch_count, count),
  numbers("Unacked", ({ messages_unacknowledged }) => messages_unacknowledged, count),
  numbers("Unconfirmed", ({ messages_unconfirmed }) => messages_unconfirmed, count),
];

function close(view, name) {
  formDialog("Close the connection", {
    fields: [{ name: "reason", label: "Reason", value: "Closed by an operator", hint: "The client reads it in its error." }],
    submit: "Close the connection", danger: true,
    onsubmit: async ({ reason }) => {
      const done = await view.act("The connection is closed.", async () => {
        await remove(path`/api/connections/${name}`, { headers: reason ? { "x-reason": reason } : {} });
        view.leave("connections");
      });
      return done;
    },
  });
}
