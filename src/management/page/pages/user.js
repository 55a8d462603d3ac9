// One user: tags, password, permissions, limits.

import { get, path, put, remove } from "../lib/api.js";
import { el } from "../lib/dom.js";
import { exchangeName } from "../lib/format.js";
import { askFirst } from "../parts/dialog.js";
import { form, formDialog } from "../parts/form.js";
import { limitTable } from "../parts/limits.js";
import { vhostField } from "../parts/names.js";
import { button, facts, folded, head, panel, Slot, tablePanel, tag } from "../parts/page.js";
import { actions, Table } from "../parts/table.js";
import { chosenTags, tagFields, tagsOf } from "./users.js";

const LIMITS = [["max-connections", "Connections"], ["max-channels", "Channels"]];

export async function userPage(view) {
  const [name] = view.route.names;
  const url = path`/api/users/${name}`;
  const about = new Slot();
  const permissions = new Table({ caption: "Permissions", empty: "The user may use no virtual host.", key: ({ vhost }) => vhost, columns: permissionColumns(view, name) });
  const topics = new Table({ caption: "Topic permissions", empty: "None: permissions hold for every routing key.", key: ({ vhost, exchange }) => JSON.stringify([vhost, exchange]), columns: topicColumns(view, name) });
  const limits = limitTable(view, path`/api/user-limits/${name}`, LIMITS);
  let present = null;
  view.show(head(name, {
    above: [["Users", "users"]],
    buttons: [button("Change", () => change(view, present)), button("Delete", () => deleteUser(view, name), "danger")],
  }), el("div", { class: "grid two" }, panel("User", about.element), limits.element,
    el("div", { class: "wide" }, tablePanel("Permissions", permissions)), el("div", { class: "wide" }, folded("Set permissions", permissionForm(view, name))),
    el("div", { class: "wide" }, tablePanel("Topic permissions", topics)), el("div", { class: "wide" }, folded("Set topic permissions", topicForm(view, name)))));
  await view.keep(async (signal) => {
    const [one, granted, onTopics] = await Promise.all([get(url, { signal }), get(`${url}/permissions`, { signal }), get(`${url}/topic-permissions`, { signal })]);
    present = one;
    about.update(one, () => facts([
      ["Tags", tagsOf(one).length > 0 ? tagsOf(one).map((text) => tag(text, text === "administrator" ? "accent" : "")) : "none: the user cannot use this page"],
      ["Password", one.password_hash ? "set" : "none"],
      ["Hashed by", one.hashing_algorithm],
    ]));
    limits.update(one.limits ?? {});
    permissions.update(granted);
    topics.update(onTopics);
  });
}

const pattern = (title, field) => ({ title, value: (row) => row[field], kind: "name", cell: (row) => (row[field] === "" ? el("span", { class: "muted" }, "nothing") : el("code", {}, row[field])) });

function permissionColumns(view, name) {
  return [
    { title: "Virtual host", value: ({ vhost }) => vhost, kind: "name" }, pattern("Configure", "configure"), pattern("Write", "write"), pattern("Read", "read"),
    actions(({ vhost }) => button("Clear", () => askFirst("Clear permissions", `"${name}" will not be able to use virtual host "${vhost}".`, "Clear", () =>
      view.act("The permissions are cleared.", () => remove(path`/api/permissions/${vhost}/${name}`))), "danger")),
  ];
}

function topicColumns(view, name) {
  return [
    { title: "Virtual host", value: ({ vhost }) => vhost, kind: "name" },
    { title: "Exchange", value: ({ exchange }) => exchange, kind: "name", cell: ({ exchange }) => exchangeName(exchange) }, pattern("Write", "write"), pattern("Read", "read"),
    actions(({ vhost }) => button("Clear", () => askFirst("Clear topic permissions", `The user's topic permissions in virtual host "${vhost}" will be gone.`, "Clear", () =>
      view.act("The topic permissions are cleared.", () => remove(path`/api/topic-permissions/${vhost}/${name}`))), "danger")),
  ];
}

const expression = (name, label) => ({ name, label: `${label} (regular expression)`, value: ".*" });

function permissionForm(view, name) {
  return form({
    pairs: true, keep: true, submit: "Set permissions",
    fields: [vhostField(), expression("configure", "Configure"), expression("write", "Write"), expression("read", "Read")],
    onsubmit: ({ vhost, ...rest }) => view.act("The permissions are set.", () => put(path`/api/permissions/${vhost}/${name}`, rest)),
  });
}

function topicForm(view, name) {
  return form({
    pairs: true, keep: true, submit: "Set topic permissions",
    fields: [vhostField(), { name: "exchange", label: "Topic exchange", value: "amq.topic", required: true }, expression("write", "Write: routing keys"), expression("read", "Read: routing keys")],
    onsubmit: ({ vhost, ...rest }) => view.act("The topic permissions are set.", () => put(path`/api/topic-permissions/${vhost}/${name}`, rest)),
  });
}

function change(view, one) {
  if (one === null) return;
  const present = tagsOf(one);
  formDialog("Change the user", {
    submit: "Change the user", pairs: true,
    fields: [{ name: "password", label: "New password", kind: "password", hint: "Empty: it stays.", wide: true }, ...tagFields(present)],
    onsubmit: ({ password, ...chosen }) => view.act("The user is changed.", () => put(path`/api/users/${one.name}`, {
      ...(password === "" ? { password_hash: one.password_hash, hashing_algorithm: one.hashing_algorithm } : { password }), tags: chosenTags(chosen, present),
    })),
  });
}

function deleteUser(view, name) {
  askFirst("Delete the user", `User "${name}" and its permissions will be gone.`, "Delete the user", () => view.act("The user is deleted.", async () => {
    await remove(path`/api/users/${name}`);
    view.leave("users");
  }));
}
