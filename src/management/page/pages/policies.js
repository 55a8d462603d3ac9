// Policies and operator policies.

import { path, put, remove } from "../lib/api.js";
import { el } from "../lib/dom.js";
import { may } from "../lib/session.js";
import { argumentList, argumentsField } from "../parts/arguments.js";
import { askFirst } from "../parts/dialog.js";
import { formDialog } from "../parts/form.js";
import { List } from "../parts/list.js";
import { scoped, vhostColumn, vhostField } from "../parts/names.js";
import { button, head } from "../parts/page.js";
import { actions, numbers } from "../parts/table.js";

/** What the editor suggests; the broker knows more keys. */
const POLICY = {
  path: "policies", title: "Policies", one: "policy", right: "policymaker",
  targets: ["all", "queues", "classic_queues", "quorum_queues", "streams", "exchanges"],
  keys: {
    "message-ttl": "number", expires: "number", "max-length": "number", "max-length-bytes": "number", overflow: "string", "dead-letter-exchange": "string", "dead-letter-routing-key": "string",
    "dead-letter-strategy": "string", "delivery-limit": "number", "consumer-timeout": "number", "delayed-retry-type": "string", "delayed-retry-min": "number", "delayed-retry-max": "number",
    "visibility-timeout": "number", "rewind-seconds": "number", "max-age": "string", "stream-max-segment-size-bytes": "number", "stream-filter-size-bytes": "number", "alternate-exchange": "string",
  },
};

const OPERATOR_POLICY = {
  path: "operator-policies", title: "Operator policies", one: "operator policy", right: "administrator",
  targets: ["queues", "classic_queues", "quorum_queues", "streams"],
  keys: {
    "message-ttl": "number", expires: "number", "max-length": "number", "max-length-bytes": "number", overflow: "string", "delivery-limit": "number",
    "delayed-retry-type": "string", "delayed-retry-min": "number", "delayed-retry-max": "number", "visibility-timeout": "number", "rewind-seconds": "number",
  },
};

export async function policies(view) {
  const own = policyList(view, POLICY);
  const operator = policyList(view, OPERATOR_POLICY);
  view.show(head("Policies"),
    el("div", { class: "grid" },
      el("section", { class: "panel", "aria-label": POLICY.title }, own.element),
      el("section", { class: "panel", "aria-label": OPERATOR_POLICY.title },
        el("header", {}, el("h2", {}, OPERATOR_POLICY.title), el("span", { class: "muted" }, "They bound what policies and declarations may set: of two numbers the smaller holds.")), operator.element)));
  await view.keep((signal) => own.load(signal));
  await view.keep((signal) => operator.load(signal));
}

function policyList(view, kind) {
  const allowed = may(kind.right);
  return new List(view, {
    caption: kind.title, url: scoped(kind.path), key: ({ vhost, name }) => JSON.stringify([vhost, name]), empty: `There is no ${kind.one}.`, sort: "name", prefix: kind.path,
    tools: allowed && button(`Add ${kind.one === "policy" ? "a" : "an"} ${kind.one}`, () => edit(view, kind, null), "primary"),
    columns: [
      { title: "Name", value: ({ name }) => name, sort: "name", kind: "name" },
      ...vhostColumn(),
      { title: "Pattern", value: ({ pattern }) => pattern, sort: "pattern", kind: "name", cell: ({ pattern }) => el("code", {}, pattern) },
      { title: "Applies to", value: (row) => row["apply-to"], sort: "apply-to" },
      { title: "Definition", value: ({ definition }) => definition, kind: "wrap", cell: ({ definition }) => el("div", {}, argumentList(definition)) },
      numbers("Priority", ({ priority }) => priority, String, { sort: "priority" }),
      ...(allowed ? [actions((row) => el("span", {}, button("Edit", () => edit(view, kind, row)), " ", button("Delete", () => deleteIt(view, kind, row), "danger")), (row) => row)] : []),
    ],
  });
}

function edit(view, kind, row) {
  const fixed = row === null ? [{ name: "name", label: "Name", required: true }, vhostField()] : [];
  formDialog(row === null ? `Add: ${kind.one}` : `Edit ${row.name}`, {
    submit: "Set it", pairs: true,
    fields: [
      ...fixed,
      { name: "pattern", label: "Pattern of names (regular expression)", required: true, value: row?.pattern ?? "" },
      { name: "apply-to", label: "Applies to", kind: "select", options: kind.targets.map((target) => [target, target]), value: row?.["apply-to"] },
      { name: "priority", label: "Priority", kind: "number", value: row?.priority ?? 0, hint: "Of several that match, the one with the highest priority holds." },
      { name: "definition", label: "Definition", kind: argumentsField(kind.keys, row?.definition) },
    ],
    onsubmit: ({ name = row?.name, vhost = row?.vhost, ...rest }) => view.act(`Set: ${kind.one} ${name}.`, () => put(`/api/${kind.path}` + path`/${vhost}/${name}`, rest)),
  });
}

function deleteIt(view, kind, { vhost, name }) {
  askFirst(`Delete the ${kind.one}`, `"${name}" will no longer hold for any queue or exchange of virtual host "${vhost}".`, "Delete", () =>
    view.act(`Deleted: ${kind.one} ${name}.`, () => remove(`/api/${kind.path}` + path`/${vhost}/${name}`)));
}
