// Channels: the list, and one with its consumers.

import { get, path } from "../lib/api.js";
import { count, rate } from "../lib/format.js";
import { el } from "../lib/dom.js";
import { Chart, chartPanel } from "../parts/chart.js";
import { consumerTable } from "../parts/consumers.js";
import { List } from "../parts/list.js";
import { channelLink, connectionLink, scopedUnderVhost, vhostColumn } from "../parts/names.js";
import { facts, head, panel, Slot, tablePanel } from "../parts/page.js";
import { rateSeries, SAMPLES } from "../parts/samples.js";
import { numbers } from "../parts/table.js";
import { stateTag } from "./connections.js";

const mode = ({ confirm, transactional }) => (transactional ? "transactions" : confirm ? "confirms" : "–");
const rateOf = (name) => (row) => row.message_stats?.[`${name}_details`]?.rate ?? 0;
const rateColumn = (title, name, rest) => numbers(title, rateOf(name), rate, { sort: `message_stats.${name}_details.rate`, ...rest });

export async function channels(view) {
  const list = new List(view, {
    caption: "Channels", url: scopedUnderVhost("channels"), key: ({ name }) => name, empty: "No channel is open.", sort: "name",
    columns: [
      { title: "Name", value: ({ name }) => name, sort: "name", kind: "name", cell: ({ name }) => channelLink(name) },
      ...vhostColumn(),
      { title: "User", value: ({ user }) => user, sort: "user" },
      { title: "State", value: ({ state }) => state, sort: "state", cell: ({ state }) => stateTag(state) },
      { title: "Mode", value: mode, narrow: false },
      numbers("Consumers", (row) => row.consumer_count, count, { sort: "consumer_count", narrow: false }),
      numbers("Prefetch", (row) => row.prefetch_count, count, { sort: "prefetch_count", narrow: false }),
      numbers("Unacked", (row) => row.messages_unacknowledged, count, { sort: "messages_unacknowledged" }),
      numbers("Unconfirmed", (row) => row.messages_unconfirmed, count, { sort: "messages_unconfirmed", narrow: false }),
      rateColumn("Publish", "publish"), rateColumn("Deliver and get", "deliver_get"), rateColumn("Ack", "ack"),
    ],
  });
  view.show(head("Channels"), el("div", { class: "panel" }, list.element));
  await view.keep((signal) => list.load(signal));
}

export async function channel(view) {
  const [name] = view.route.names;
  const about = new Slot();
  const flow = new Chart("Message rates", rate);
  const consumers = consumerTable("It has no consumers.");
  view.show(head(name, { above: [["Channels", "channels"]] }),
    el("div", { class: "grid two" }, panel("Channel", about.element), chartPanel("Message rates", flow), el("div", { class: "wide" }, tablePanel("Consumers", consumers))));
  await view.keep(async (signal) => {
    const one = await get(path`/api/channels/${name}`, { query: SAMPLES, signal });
    about.update(one, aboutChannel);
    flow.update(rateSeries(one.message_stats));
    consumers.update(one.consumer_details ?? []);
  });
}

function aboutChannel(one) {
  return facts([
    ["Connection", one.connection_details && connectionLink(one.connection_details.name)],
    ["Number", one.number],
    ["User", one.user],
    ["Virtual host", one.vhost],
    ["State", stateTag(one.state)],
    ["Mode", mode(one)],
    ["Prefetch", one.prefetch_count === 0 ? "no limit" : count(one.prefetch_count)],
    ["Prefetch of the whole channel", one.global_prefetch_count > 0 ? count(one.global_prefetch_count) : undefined],
    ["Unacked", count(one.messages_unacknowledged)],
    ["Unconfirmed", count(one.messages_unconfirmed)],
    ["Uncommitted messages, acks", `${count(one.messages_uncommitted)}, ${count(one.acks_uncommitted)}`],
  ]);
}
