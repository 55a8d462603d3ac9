// Virtual hosts: the list, and one with its permissions and limits.

import { get, path, put, remove } from "../lib/api.js";
import { byteRate, count } from "../lib/format.js";
import { el } from "../lib/dom.js";
import { href } from "../lib/router.js";
import { may } from "../lib/session.js";
import { askFirst } from "../parts/dialog.js";
import { formDialog } from "../parts/form.js";
import { limitTable } from "../parts/limits.js";
import { List } from "../parts/list.js";
import { button, facts, figures, head, panel, Slot, tablePanel, tag } from "../parts/page.js";
import { numbers, Table } from "../parts/table.js";
import { stateTag } from "./connections.js";

const TYPES = [["classic", "Classic"], ["quorum", "Quorum"], ["stream", "Stream"]];
const LIMITS = [["max-connections", "Connections"], ["max-queues", "Queues"]];

const tagsOf = ({ tags = [] }) => (Array.isArray(tags) ? tags : String(tags).split(",")).filter((one) => one !== "");
const states = ({ cluster_state: state }) => [...new Set(Object.values(state ?? {}))];

export async function vhosts(view) {
  const list = new List(view, {
    caption: "Virtual hosts", url: () => "/api/vhosts", key: ({ name }) => name, empty: "No virtual host has such a name.", sort: "name",
    tools: may("administrator") && button("Add a virtual host", () => edit(view, null), "primary"),
    columns: [
      { title: "Name", value: ({ name }) => name, sort: "name", kind: "name", cell: ({ name }) => (may("administrator") ? el("a", { href: href("vhosts", name) }, name) : name) },
      { title: "Description", value: ({ description }) => description ?? "", kind: "wrap", narrow: false },
      { title: "Tags", value: tagsOf, kind: "wrap", narrow: false, cell: (row) => el("span", {}, tagsOf(row).map((name) => tag(name))) },
      { title: "State", value: states, cell: (row) => el("span", {}, states(row).map(stateTag)) },
      { title: "Queue type", value: ({ default_queue_type: type }) => type ?? "–", narrow: false },
      numbers("Ready", (row) => row.messages_ready ?? 0, count, { sort: "messages_ready" }),
      numbers("Unacked", (row) => row.messages_unacknowledged ?? 0, count, { sort: "messages_unacknowledged" }),
      numbers("Total", (row) => row.messages ?? 0, count, { sort: "messages" }),
      numbers("From clients", (row) => row.recv_oct_details?.rate ?? 0, byteRate, { sort: "recv_oct_details.rate", narrow: false }),
      numbers("To clients", (row) => row.send_oct_details?.rate ?? 0, byteRate, { sort: "send_oct_details.rate", narrow: false }),
    ],
  });
  view.show(head("Virtual hosts"), el("div", { class: "panel" }, list.element));
  await view.keep((signal) => list.load(signal));
}

export async function vhostPage(view) {
  const [name] = view.route.names;
  const url = path`/api/vhosts/${name}`;
  const totals = new Slot();
  const about = new Slot();
  const permissions = new Table({ caption: "Permissions", columns: PERMISSIONS, key: ({ user }) => user, empty: "No user may use it." });
  const limits = limitTable(view, path`/api/vhost-limits/${name}`, LIMITS);
  let present = null;
  view.show(head(name, {
    above: [["Virtual hosts", "vhosts"]],
    buttons: [button("Change", () => present && edit(view, present)), button("Delete", () => deleteVhost(view, name), "danger")],
  }), el("div", { class: "grid" }, totals.element, el("div", { class: "grid two" }, panel("Virtual host", about.element), limits.element), tablePanel("Permissions", permissions)));
  await view.keep(async (signal) => {
    const [one, granted, limited] = await Promise.all([get(url, { signal }), get(`${url}/permissions`, { signal }), get(path`/api/vhost-limits/${name}`, { signal })]);
    present = one;
    totals.update(one, () => figures([["Ready", count(one.messages_ready ?? 0)], ["Unacked", count(one.messages_unacknowledged ?? 0)], ["Total", count(one.messages ?? 0)]]));
    about.update(one, () => facts([
      ["Description", one.description || "none"], ["Tags", tagsOf(one).length > 0 ? tagsOf(one).map((text) => tag(text)) : "none"], ["Queue type of declarations without one", one.default_queue_type],
      ["State", states(one).map(stateTag)], ["Tracing", one.tracing ? "on: messages are copied to amq.rabbitmq.trace" : "off"],
    ]));
    permissions.update(granted);
    limits.update(limited[0]?.value ?? {});
  });
}

const PERMISSIONS = [
  { title: "User", value: ({ user }) => user, kind: "name", cell: ({ user }) => el("a", { href: href("users", user) }, user) },
  ...["configure", "write", "read"].map((right) => ({ title: right[0].toUpperCase() + right.slice(1), value: (row) => row[right], kind: "name", cell: (row) => el("code", {}, row[right]) })),
];

function edit(view, one) {
  formDialog(one === null ? "Add a virtual host" : `Change ${one.name}`, {
    submit: one === null ? "Add the virtual host" : "Change the virtual host", pairs: true,
    fields: [
      ...(one === null ? [{ name: "name", label: "Name", required: true, wide: true }] : []),
      { name: "description", label: "Description", value: one?.description ?? "" },
      { name: "tags", label: "Tags", value: one === null ? "" : tagsOf(one).join(", "), hint: "Separated by commas." },
      { name: "default_queue_type", label: "Queue type of declarations without one", kind: "select", options: TYPES, value: one?.default_queue_type },
      { name: "tracing", label: "Tracing: copy messages to amq.rabbitmq.trace", kind: "check", value: one?.tracing ?? false },
    ],
    onsubmit: ({ name = one?.name, ...rest }) => view.act(`Virtual host ${name} is set.`, () => put(path`/api/vhosts/${name}`, rest)),
  });
}

function deleteVhost(view, name) {
  askFirst("Delete the virtual host", `Virtual host "${name}" with all its queues, exchanges and messages will be gone.`, "Delete the virtual host", () =>
    view.act("The virtual host is deleted.", async () => {
      await remove(path`/api/vhosts/${name}`);
      view.leave("vhosts");
    }));
}
