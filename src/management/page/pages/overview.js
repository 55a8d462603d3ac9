// The broker at a glance: messages, rates, the node's memory and disk.

import { get } from "../lib/api.js";
import { bytes, count, dateTime, duration, rate } from "../lib/format.js";
import { el } from "../lib/dom.js";
import { href } from "../lib/router.js";
import { may } from "../lib/session.js";
import { Chart, chartPanel } from "../parts/chart.js";
import { alarms, meters } from "../parts/node.js";
import { facts, figures, head, panel, Slot, tablePanel } from "../parts/page.js";
import { lengthSeries, rateSeries, SAMPLES } from "../parts/samples.js";
import { numbers, Table } from "../parts/table.js";

export async function overview(view) {
  const warnings = new Slot();
  const totals = new Slot();
  const node = new Slot();
  const about = new Slot();
  const messages = new Chart("Queued messages", count);
  const flow = new Chart("Message rates", rate);
  const listeners = new Table({ caption: "Listeners", columns: LISTENERS, key: ({ protocol, ip_address, port }) => `${protocol} ${ip_address} ${port}`, empty: "No listener is visible to you." });
  view.show(head("Overview"), warnings.element, el("div", { class: "grid" }, totals.element,
    el("div", { class: "grid two" }, chartPanel("Queued messages", messages), chartPanel("Message rates", flow),
      may("monitoring") ? panel("Node", node.element) : null, panel("Broker", about.element)),
    tablePanel("Listeners", listeners)));
  await view.keep(async (signal) => {
    const [whole, nodes] = await Promise.all([get("/api/overview", { query: SAMPLES, signal }), may("monitoring") ? get("/api/nodes", { signal }) : []]);
    warnings.update(nodes.flatMap(alarms), (texts) => texts.map((text) => el("div", { class: "notice danger", role: "alert" }, text)));
    totals.update(whole, numbersOf);
    messages.update(lengthSeries(whole.queue_totals));
    flow.update(rateSeries(whole.message_stats));
    node.update(nodes, (list) => list.map(meters));
    about.update([whole, nodes], () => factsOf(whole, nodes[0]));
    listeners.update(whole.listeners ?? []);
  });
}

const LISTENERS = [
  { title: "Protocol", value: ({ protocol }) => protocol },
  { title: "Address", value: ({ ip_address }) => ip_address },
  numbers("Port", ({ port }) => port, String),
];

function numbersOf({ queue_totals: queued = {}, object_totals: objects = {}, message_stats: stats = {} }) {
  return figures([
    ["Ready", count(queued.messages_ready ?? 0)],
    ["Unacked", count(queued.messages_unacknowledged ?? 0)],
    ["Publish", rate(stats.publish_details?.rate ?? 0)],
    ["Deliver", rate(stats.deliver_get_details?.rate ?? 0)],
    ["Connections", count(objects.connections ?? 0), href("connections")],
    ["Channels", count(objects.channels ?? 0), href("channels")],
    ["Exchanges", count(objects.exchanges ?? 0), href("exchanges")],
    ["Queues", count(objects.queues ?? 0), href("queues")],
    ["Consumers", count(objects.consumers ?? 0)],
  ]);
}

function factsOf(whole, node) {
  const churn = whole.churn_rates ?? {};
  return facts([
    ["Product", [whole.product_name, whole.product_version].filter(Boolean).join(" ") || undefined],
    ["Compatible with", whole.rabbitmq_version && `RabbitMQ ${whole.rabbitmq_version}`],
    ["Cluster name", whole.cluster_name],
    ["Node", whole.node],
    ["Up since", node?.uptime === undefined ? undefined : `${dateTime(Date.now() - node.uptime)} (${duration(node.uptime)})`],
    ["Memory", node && bytes(node.mem_used)],
    ["Connections opened", churn.connection_created === undefined ? undefined : `${count(churn.connection_created)}, closed ${count(churn.connection_closed)}`],
    ["Queues declared", churn.queue_declared === undefined ? undefined : `${count(churn.queue_declared)}, created ${count(churn.queue_created)}, deleted ${count(churn.queue_deleted)}`],
  ].filter(([, value]) => value !== undefined && value !== null && value !== ""));
}
