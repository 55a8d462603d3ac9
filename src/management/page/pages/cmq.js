// Topics and subscriptions of CMQ's API.

import { get } from "../lib/api.js";
import { el } from "../lib/dom.js";
import { head, tablePanel } from "../parts/page.js";
import { Table } from "../parts/table.js";

export async function cmq(view) {
  const topics = new Table({ caption: "Topics", key: (row) => JSON.stringify([row.vhost, row.name]), empty: "There are no topics.", columns: [
    { title: "Topic", value: ({ name }) => name, kind: "name" },
  ] });
  const subscriptions = new Table({ caption: "Subscriptions", key: (row) => JSON.stringify(row), empty: "There are no subscriptions.", columns: [
    { title: "Subscription", value: ({ name }) => name, kind: "name" },
  ] });
  view.show(head("CMQ topics"), el("div", { class: "grid" }, tablePanel("Topics", topics), tablePanel("Subscriptions", subscriptions)));
  await view.keep(async (signal) => {
    const [all, subscribed] = await Promise.all([get("/api/leveret/cmq/topics", { signal }), get("/api/leveret/cmq/subscriptions", { signal })]);
    topics.update(all);
    subscriptions.update(subscribed);
  });
}
