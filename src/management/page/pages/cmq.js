// Topics, subscriptions, queues and secret keys of CMQ's API.

import { path, post, remove } from "../lib/api.js";
import { bytes, count, dateTime, duration } from "../lib/format.js";
import { el } from "../lib/dom.js";
import { may } from "../lib/session.js";
import { askFirst, openDialog } from "../parts/dialog.js";
import { formDialog } from "../parts/form.js";
import { List } from "../parts/list.js";
import { queueLink, vhostField } from "../parts/names.js";
import { button, facts, head, tag } from "../parts/page.js";
import { actions, numbers } from "../parts/table.js";

export async function cmq(view) {
  const shown = [["Topics", topics(view)], ["Subscriptions", subscriptions(view)], ["Queues", queues(view)]];
  if (may("administrator")) shown.push(["Secret keys", secretKeys(view)]);
  view.show(head("CMQ"), el("div", { class: "grid" }, shown.map(([title, list]) =>
    el("section", { class: "panel", "aria-label": title }, el("header", {}, el("h2", {}, title)), list.element))));
  for (const [, list] of shown) await view.keep((signal) => list.load(signal));
}

const name = (title) => ({ title, value: (row) => row.name, sort: "name", kind: "name" });
const vhost = { title: "Virtual host", value: (row) => row.vhost, sort: "vhost", kind: "name", narrow: false };
const seconds = (value) => (value === 0 ? "–" : duration(value * 1000));
const moment = (title, field) => ({ title, value: (row) => row[field], sort: field, narrow: false, cell: (row) => (row[field] ? dateTime(row[field] * 1000) : "–") });

function topics(view) {
  return new List(view, {
    caption: "Topics", prefix: "topics", sort: "name", url: () => "/api/leveret/cmq/topics", key: (row) => JSON.stringify([row.vhost, row.name]), empty: "There are no topics.",
    columns: [
      name("Topic"), vhost,
      { title: "Filter", value: (row) => row.filter_type, cell: (row) => (row.filter_type === 2 ? "binding keys" : "tags") },
      numbers("Largest message", (row) => row.max_message_size, bytes, { sort: "max_message_size" }),
      { title: "Owner", value: ({ owner }) => owner, sort: "owner", kind: "name", narrow: false },
      moment("Created", "created"),
      numbers("Subscriptions", (row) => row.subscriptions, count, { sort: "subscriptions" }),
    ],
  });
}

function subscriptions(view) {
  return new List(view, {
    caption: "Subscriptions", prefix: "subscriptions", sort: "name", url: () => "/api/leveret/cmq/subscriptions",
    key: (row) => JSON.stringify([row.vhost, row.topic, row.name]), empty: "There are no subscriptions.",
    columns: [
      name("Subscription"),
      { title: "Topic", value: ({ topic }) => topic, sort: "topic", kind: "name" }, vhost,
      { title: "Endpoint", value: ({ protocol, endpoint: to }) => [protocol, to], kind: "name", cell: endpoint },
      { title: "Filter", value: (row) => [row.filter_tags, row.binding_keys], kind: "wrap", narrow: false, cell: (row) => el("span", {}, [...row.filter_tags, ...row.binding_keys].map((text) => tag(text))) },
      { title: "When it fails", value: ({ notify_strategy: strategy }) => strategy, narrow: false },
      numbers("Waiting", (row) => row.messages, count, { sort: "messages" }),
    ],
  });
}

function endpoint({ vhost: host, protocol, endpoint: to }) {
  return protocol === "queue" ? el("span", {}, tag("queue"), queueLink(host, to)) : el("span", {}, tag(protocol), to);
}

function queues(view) {
  return new List(view, {
    caption: "Queues", prefix: "queues", sort: "name", url: () => "/api/leveret/cmq/queues", key: (row) => JSON.stringify([row.vhost, row.name]), empty: "CMQ's API serves no queue.",
    columns: [
      { ...name("Queue"), cell: (row) => queueLink(row.vhost, row.name) }, vhost,
      numbers("Locked for", (row) => row.visibility_timeout, seconds, { sort: "visibility_timeout" }),
      numbers("Retained for", (row) => row.retention_seconds, seconds, { sort: "retention_seconds", narrow: false }),
      numbers("Rewindable for", (row) => row.rewind_seconds, seconds, { sort: "rewind_seconds", narrow: false }),
      numbers("Active", (row) => row.active, count, { sort: "active" }),
      numbers("Inactive", (row) => row.inactive, count, { sort: "inactive" }),
      numbers("Delayed", (row) => row.delayed, count, { sort: "delayed" }),
      numbers("Rewindable", (row) => row.rewindable, count, { sort: "rewindable", narrow: false }),
    ],
  });
}

function secretKeys(view) {
  return new List(view, {
    caption: "Secret keys", prefix: "keys", sort: "id", url: () => "/api/leveret/secret-keys", key: ({ id }) => id, empty: "There are no secret keys.", searchLabel: "Search by id",
    tools: button("Add a secret key", () => addKey(view), "primary"),
    columns: [
      { title: "Id", value: ({ id }) => id, sort: "id", kind: "name", cell: ({ id }) => el("code", {}, id) },
      { title: "Acts as user", value: ({ user }) => user, sort: "user", kind: "name" }, vhost,
      actions(({ id }) => button("Delete", () => askFirst("Delete the secret key", `Requests signed with "${id}" will be refused.`, "Delete", () =>
        view.act("The secret key is deleted.", () => remove(path`/api/leveret/secret-keys/${id}`))), "danger")),
    ],
  });
}

function addKey(view) {
  formDialog("Add a secret key", {
    submit: "Add the secret key",
    fields: [{ name: "user", label: "Acts as user", required: true }, vhostField()],
    onsubmit: async (body) => {
      let made;
      const done = await view.act(null, async () => { made = await post("/api/leveret/secret-keys", body); });
      // After the form has closed: the key is shown only here.
      if (done) setTimeout(() => openDialog("The new secret key", el("p", {}, "The broker shows the key only now."), facts([["Id", el("code", {}, made.id)], ["Key", el("code", {}, made.key)]])));
      return done;
    },
  });
}
