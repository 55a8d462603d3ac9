// The table of consumers, of a queue or of a channel.

import { el } from "../lib/dom.js";
import { count, duration } from "../lib/format.js";
import { argumentList } from "./arguments.js";
import { channelLink, queueLink } from "./names.js";
import { tag } from "./page.js";
import { numbers, Table } from "./table.js";

export function consumerTable(empty) {
  return new Table({ caption: "Consumers", columns: COLUMNS, key: (row) => `${row.channel_details?.name} ${row.consumer_tag}`, empty });
}

const COLUMNS = [
  { title: "Tag", value: ({ consumer_tag }) => consumer_tag, kind: "name" },
  { title: "Queue", value: ({ queue }) => queue, kind: "name", cell: ({ queue }) => (queue ? queueLink(queue.vhost, queue.name) : "–") },
  { title: "Channel", value: ({ channel_details: channel }) => channel?.name ?? "–", kind: "name", cell: ({ channel_details: channel }) => (channel?.name ? channelLink(channel.name) : "–") },
  { title: "Acks", value: ({ ack_required }) => (ack_required ? "required" : "automatic") },
  { title: "State", value: (row) => [row.exclusive, row.active, row.activity_status], cell: state },
  numbers("Prefetch", ({ prefetch_count }) => prefetch_count, count),
  { title: "Timeout", value: ({ consumer_timeout }) => (typeof consumer_timeout === "number" ? duration(consumer_timeout) : "–"), narrow: false },
  { title: "Arguments", value: (row) => row.arguments, cell: (row) => argumentList(row.arguments), kind: "wrap", narrow: false },
];

function state({ exclusive, active, activity_status: status }) {
  const activity = active === false ? tag(status ?? "waiting", "warn") : tag(status === "single_active" ? "single active" : "active", "good");
  return el("span", {}, exclusive && tag("exclusive"), activity);
}
