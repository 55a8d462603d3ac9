// One queue or stream: numbers, charts, what holds for it and why, consumers, bindings, messages.

import { ApiError, get, path } from "../lib/api.js";
import { bytes, count, dateTime, rate } from "../lib/format.js";
import { el } from "../lib/dom.js";
import { bindingTable, bindQueueForm } from "../parts/bindings.js";
import { Chart, chartPanel } from "../parts/chart.js";
import { consumerTable } from "../parts/consumers.js";
import { effectiveTable } from "../parts/effective.js";
import { getForm } from "../parts/messages.js";
import { button, facts, figures, folded, head, panel, Slot, tablePanel, tag } from "../parts/page.js";
import { publishForm } from "../parts/publish.js";
import { lengthSeries, rateSeries, SAMPLES } from "../parts/samples.js";
import { stateTag } from "./connections.js";
import { deleteQueue, moveMessages, purge, rewind } from "./queue_actions.js";
import { features } from "./queues.js";

const RATES = ["publish", "deliver_get", "ack", "redeliver"];

export async function queue(view) {
  const [vhost, name] = view.route.names;
  const url = path`/api/queues/${vhost}/${name}`;
  const marks = new Slot("span");
  const buttons = new Slot("span", { class: "buttons" });
  const totals = new Slot();
  const about = new Slot();
  const lengths = new Chart("Messages", count);
  const flow = new Chart("Message rates", rate);
  const effective = effectiveTable();
  const consumers = consumerTable("It has no consumers.");
  const bindings = bindingTable(view, "source");
  const messages = new Slot();
  view.show(head(name, { above: [["Queues", "queues"]], marks: marks.element, buttons: buttons.element }),
    el("div", { class: "grid" }, totals.element,
      el("div", { class: "grid two" }, chartPanel("Messages", lengths), chartPanel("Message rates", flow), panel("Queue", about.element), tablePanel("What holds for it, and where it comes from", effective)),
      tablePanel("Consumers", consumers), tablePanel("Bindings to it", bindings), folded("Add a binding", bindQueueForm(view, vhost, name)),
      folded("Publish a message", publishForm(view, vhost, "", name)), messages.element));
  await view.keep(async (signal) => {
    const [one, bound, own] = await Promise.all([
      get(url, { query: SAMPLES, signal }), get(`${url}/bindings`, { signal }), leveretOnly(path`/api/leveret/queues/${vhost}/${name}`, signal),
    ]);
    const key = { vhost, name, type: one.type };
    marks.update(one, () => [tag(vhost, "", "Virtual host"), tag(one.type, "accent"), features(one)]);
    buttons.update([one.type, own === null], () => actionsOf(view, key, own));
    totals.update([one, own], () => numbersOf(one, own));
    lengths.update(lengthSeries(one));
    flow.update(rateSeries(one.message_stats, RATES));
    about.update([one, own], () => aboutQueue(one, own));
    effective.show(one, own);
    consumers.update(one.consumer_details ?? []);
    bindings.update(bound);
    messages.update(key, () => (one.type === "stream" ? [] : folded("Get messages", getForm(view, vhost, name))));
  });
}

/** What only Leveret knows of a queue; null on a broker that does not have it. */
async function leveretOnly(url, signal) {
  try {
    return await get(url, { signal });
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}

function actionsOf(view, key, own) {
  return [
    own !== null && key.type !== "stream" && button("Rewind", () => rewind(view, key)),
    own !== null && key.type !== "stream" && button("Move", () => moveMessages(view, key)),
    key.type !== "stream" && button("Purge", () => purge(view, key)),
    button("Delete", () => deleteQueue(view, key), "danger"),
  ];
}

function numbersOf(one, own) {
  const stats = one.message_stats ?? {};
  return figures([
    ["Ready", count(one.messages_ready ?? 0)],
    ["Unacked", count(one.messages_unacknowledged ?? 0)],
    ["Total", count(one.messages ?? 0)],
    ...(own === null || one.type === "stream" ? [] : [["Delayed", count(own.delayed)], ["Rewindable", count(own.rewindable)]]),
    own?.lost > 0 && ["Unreadable", count(own.lost)],
    ["Consumers", count(one.consumers ?? 0)],
    ["In", rate(stats.publish_details?.rate ?? 0)],
    ["Out", rate(stats.deliver_get_details?.rate ?? 0)],
  ].filter(Boolean));
}

function aboutQueue(one, own) {
  return facts([
    ["State", stateTag(one.state)],
    ["Node", one.leader ?? one.node],
    ["Policy", one.policy ?? "none"],
    ["Operator policy", one.operator_policy ?? "none"],
    ["Bodies", one.message_bytes === undefined ? undefined : `${bytes(one.message_bytes)}, ready ${bytes(one.message_bytes_ready)}, unacked ${bytes(one.message_bytes_unacknowledged)}`],
    ["Persistent messages", one.messages_persistent === undefined ? undefined : count(one.messages_persistent)],
    ["Messages in memory", one.messages_ram === undefined ? undefined : `${count(one.messages_ram)} (${bytes(one.message_bytes_ram)})`],
    ["Memory", one.memory === undefined ? undefined : bytes(one.memory)],
    ["Consumers can take", typeof one.consumer_utilisation === "number" ? `${Math.round(one.consumer_utilisation * 100)} % of the time` : undefined],
    ["Oldest message", own?.oldest_message_timestamp ? dateTime(own.oldest_message_timestamp) : undefined],
    ["Its timestamp property", one.head_message_timestamp ? dateTime(one.head_message_timestamp * 1000) : undefined],
    ["Idle since", one.idle_since ? dateTime(new Date(one.idle_since)) : undefined],
    ["Exclusive consumer", one.exclusive_consumer_tag || undefined],
    ["Single active consumer", one.single_active_consumer_tag || undefined],
    ["Segments", one.segments === undefined ? undefined : count(one.segments)],
  ]);
}
