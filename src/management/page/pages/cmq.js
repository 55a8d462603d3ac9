// Topics and subscriptions of CMQ's API.

import { count } from "../lib/format.js";
import { el } from "../lib/dom.js";
import { List } from "../parts/list.js";
import { exchangeLink, queueLink, scoped, vhostColumn } from "../parts/names.js";
import { head, tag } from "../parts/page.js";
import { numbers } from "../parts/table.js";

export async function cmq(view) {
  const topics = new List(view, { caption: "Topics", prefix: "topics", sort: "name", url: scoped("leveret/cmq/topics"), key: ({ vhost, name }) => JSON.stringify([vhost, name]), empty: "There are no topics.", columns: topicColumns() });
  const subscriptions = new List(view, {
    caption: "Subscriptions", prefix: "subscriptions", sort: "name", url: scoped("leveret/cmq/subscriptions"),
    key: ({ vhost, topic, name }) => JSON.stringify([vhost, topic, name]), empty: "There are no subscriptions.", columns: subscriptionColumns(),
  });
  view.show(head("CMQ topics"), el("div", { class: "grid" }, section("Topics", topics), section("Subscriptions", subscriptions)));
  await view.keep((signal) => topics.load(signal));
  await view.keep((signal) => subscriptions.load(signal));
}

const section = (title, list) => el("section", { class: "panel", "aria-label": title }, el("header", {}, el("h2", {}, title)), list.element);

function topicColumns() {
  return [
    { title: "Topic", value: ({ name }) => name, sort: "name", kind: "name" },
    ...vhostColumn(),
    { title: "Exchange", value: ({ exchange }) => exchange, kind: "name", cell: ({ vhost, exchange }) => exchangeLink(vhost, exchange) },
    { title: "Filter", value: ({ filter_type: filter }) => filter },
    numbers("Subscriptions", (row) => row.subscriptions, count, { sort: "subscriptions" }),
  ];
}

function subscriptionColumns() {
  return [
    { title: "Subscription", value: ({ name }) => name, sort: "name", kind: "name" },
    { title: "Topic", value: ({ topic }) => topic, sort: "topic", kind: "name" },
    ...vhostColumn(),
    { title: "Endpoint", value: ({ protocol, endpoint }) => [protocol, endpoint], kind: "name", cell: endpoint },
    { title: "Filter", value: (row) => [row.filter_tags, row.binding_keys], kind: "wrap", cell: (row) => el("span", {}, [...(row.filter_tags ?? []), ...(row.binding_keys ?? [])].map((text) => tag(text))) },
    { title: "When it fails", value: ({ notify_strategy: strategy }) => strategy ?? "–" },
    numbers("Waiting", (row) => row.messages ?? 0, count, { sort: "messages" }),
  ];
}

function endpoint({ vhost, protocol, endpoint: to }) {
  return protocol === "queue" ? el("span", {}, tag("queue"), queueLink(vhost, to)) : el("span", {}, tag(protocol), to);
}
