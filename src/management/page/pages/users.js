// The list of users, and the form for a new one.

import { get, path, put } from "../lib/api.js";
import { el } from "../lib/dom.js";
import { href } from "../lib/router.js";
import { formDialog } from "../parts/form.js";
import { List } from "../parts/list.js";
import { button, head, Slot, tag } from "../parts/page.js";
import { notice } from "../parts/notice.js";

export const TAGS = ["administrator", "monitoring", "policymaker", "management"];

/** The API sends tags as a list; RabbitMQ before 3.9 sent a text. */
export const tagsOf = ({ tags = [] }) => (Array.isArray(tags) ? tags : tags.split(",")).filter((one) => one !== "");

export async function users(view) {
  const without = new Slot();
  const list = new List(view, {
    caption: "Users", url: () => "/api/users", key: ({ name }) => name, empty: "No user has such a name.", sort: "name",
    tools: button("Add a user", () => add(view), "primary"),
    columns: [
      { title: "Name", value: ({ name }) => name, sort: "name", kind: "name", cell: ({ name }) => el("a", { href: href("users", name) }, name) },
      { title: "Tags", value: tagsOf, kind: "wrap", cell: (row) => el("span", {}, tagsOf(row).map((name) => tag(name, name === "administrator" ? "accent" : ""))) },
      { title: "Limits", value: ({ limits }) => limits ?? {}, kind: "wrap", cell: ({ limits }) => el("span", {}, Object.entries(limits ?? {}).map(([name, value]) => tag(`${name} ${value}`))) },
      { title: "Password", value: ({ password_hash: hash }) => (hash ? "set" : "none, cannot log in with one") },
    ],
  });
  view.show(head("Users"), without.element, el("div", { class: "panel" }, list.element));
  await view.keep((signal) => list.load(signal));
  await view.keep(async (signal) => {
    const names = (await get("/api/users/without-permissions", { signal })).map(({ name }) => name);
    without.update(names, () => names.length > 0 && notice("", "Users who may use no virtual host: ", names.map((name, index) => [index > 0 && ", ", el("a", { href: href("users", name) }, name)])));
  });
}

function add(view) {
  formDialog("Add a user", {
    submit: "Add the user", pairs: true,
    fields: [
      { name: "name", label: "Name", required: true },
      { name: "password", label: "Password", kind: "password", hint: "Without one the user cannot log in with a password." },
      ...tagFields([]),
    ],
    onsubmit: ({ name, password, ...chosen }) => view.act(`User ${name} is there.`, () =>
      put(path`/api/users/${name}`, { ...(password === "" ? { password_hash: "" } : { password }), tags: chosenTags(chosen, []) })),
  });
}

const MEANING = {
  administrator: "everything", monitoring: "sees all connections and the node", policymaker: "sets policies", management: "uses this page for the virtual hosts it may use",
};

export const tagFields = (present) => TAGS.map((name) => ({ name, label: `${name}: ${MEANING[name]}`, kind: "check", value: present.includes(name) }));

/** The chosen tags, and those that this page does not know. */
export function chosenTags(chosen, present) {
  return [...TAGS.filter((name) => chosen[name]), ...present.filter((name) => !TAGS.includes(name))].join(",");
}
